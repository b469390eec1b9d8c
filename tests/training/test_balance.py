"""Balanced accuracy, compared with a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.training.balance import VERY_UNBALANCED, balanced_accuracy, is_very_unbalanced

IMAGES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)


@given(IMAGES)
def test_it_is_the_mean_of_the_per_class_accuracies(images: list[tuple[int, bool]]) -> None:
    own = []
    for name in sorted({label for label, _ in images}):
        right = [was for label, was in images if label == name]
        own.append(sum(right) / len(right))
    labels, right = (np.array(column) for column in zip(*images, strict=True))
    assert balanced_accuracy(labels, right) == pytest.approx(sum(own) / len(own))


@given(IMAGES)
def test_where_all_classes_are_as_large_it_is_the_plain_one(images: list[tuple[int, bool]]) -> None:
    right = [was for _, was in images]
    labels = np.repeat(np.arange(3), len(right))
    everywhere = np.tile(right, 3)
    assert balanced_accuracy(labels, everywhere) == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([10, 10], False),
        ([29, 10], False),
        ([30, 10], True),
        ([0, 30, 10], True),
        ([5, 0, 5], False),
        ([95, 5], True),
        ([7], False),
    ],
)
def test_from_three_times_on_a_set_is_very_unbalanced(counts: list[int], expected: bool) -> None:
    assert VERY_UNBALANCED == 3
    labels = np.repeat(np.arange(len(counts)), counts)
    assert is_very_unbalanced(labels) is expected


def test_what_knows_one_class_only_is_not_good() -> None:
    labels = np.repeat([0, 1], [95, 5])
    assert (labels == 0).mean() == 0.95
    assert balanced_accuracy(labels, labels == 0) == 0.5
