from __future__ import annotations

import numpy as np
import pytest

from asi_core.datasets import dataset_card, load_dataset
from asi_core.training.spec import RunSpec
from dashboard.learn.pictures import approximate, pictures, singular_values

DATASET = RunSpec.model_fields["dataset"].default


def test_there_is_the_first_test_image_of_each_class() -> None:
    test = load_dataset(DATASET).test
    found = pictures()
    assert tuple(found) == dataset_card(DATASET).classes
    for number, picture in enumerate(found.values()):
        first = test.labels.tolist().index(number)
        np.testing.assert_array_equal(picture, test.read(np.array([first]), size=28)[0])


@pytest.mark.parametrize("rank", [1, 3, 28])
def test_an_approximation_is_the_projection_on_the_leading_eigenvectors(rank: int) -> None:
    picture = next(iter(pictures().values()))
    close = approximate(picture, rank)
    leading = np.linalg.eigh(picture @ picture.T)[1][:, -rank:]
    expected = leading @ leading.T @ picture
    np.testing.assert_allclose(close.matrix, expected, atol=1e-6)
    lost = np.linalg.norm(picture - expected) / np.linalg.norm(picture)
    assert close.error == pytest.approx(lost, abs=1e-9)
    assert close.energy == pytest.approx(1 - lost**2, abs=1e-9)
    assert np.linalg.matrix_rank(close.matrix) <= rank


def test_a_lower_rank_is_written_with_columns_and_rows() -> None:
    assert approximate(np.ones((28, 20)), 3).numbers == 3 * 28 + 3 * 20


def test_singular_values_are_the_roots_of_the_gram_matrix() -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 9))
    expected = np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T))[::-1]
    np.testing.assert_allclose(singular_values(matrix), expected)
