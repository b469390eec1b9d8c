from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dashboard.learn import turning


@pytest.mark.parametrize("angle", [0, 10, 35, 90])
def test_every_direction_turns_by_the_angle(angle: float) -> None:
    bases = turning.turning_bases(angle, np.random.default_rng(3))
    assert len(bases) == turning.STEPS
    for before, after in pairwise(bases):
        np.testing.assert_allclose(after.T @ after, np.eye(turning.RANK), atol=1e-12)
        cosines = np.linalg.svd(before.T @ after, compute_uv=False)
        np.testing.assert_allclose(cosines, np.cos(np.radians(angle)), atol=1e-12)


def test_iterations_find_the_leading_singular_vectors() -> None:
    random = np.random.default_rng(0)
    matrix = random.standard_normal((12, 30)) * np.linspace(4, 1, 12)[:, None] ** 2
    basis = np.linalg.qr(random.standard_normal((12, turning.RANK)))[0]
    for _ in range(200):
        basis = turning.iterate(matrix, basis)
    leading = np.linalg.svd(matrix)[0][:, : turning.RANK]
    np.testing.assert_allclose(basis @ basis.T, leading @ leading.T, atol=1e-8)
    assert turning.captured(matrix, basis) == pytest.approx(turning.best_energy(matrix))


def test_captured_energy_is_that_of_the_projection() -> None:
    random = np.random.default_rng(1)
    matrix = random.standard_normal((10, 20))
    basis = np.linalg.qr(random.standard_normal((10, 3)))[0]
    kept = basis @ basis.T @ matrix
    expected = np.linalg.norm(kept) ** 2 / np.linalg.norm(matrix) ** 2
    assert turning.captured(matrix, basis) == pytest.approx(expected)


def test_the_best_energy_is_that_of_the_gram_matrix() -> None:
    matrix = np.random.default_rng(2).standard_normal((10, 20))
    eigenvalues = np.linalg.eigvalsh(matrix @ matrix.T)
    expected = eigenvalues[-turning.RANK :].sum() / eigenvalues.sum()
    assert turning.best_energy(matrix) == pytest.approx(expected)


def test_no_start_beats_the_singular_vectors_and_a_warm_one_beats_a_cold_one() -> None:
    followed = turning.follow(10)
    for best, warm, cold in zip(followed.best, followed.warm, followed.cold, strict=True):
        assert max(warm, cold) <= best + 1e-12
    assert followed.warm[0] == followed.cold[0]
    assert followed.warm_share > 0.98
    assert followed.warm_share - followed.cold_share > 0.15


def test_at_a_right_angle_the_warm_start_is_worth_a_cold_one() -> None:
    shares = [turning.follow(angle).warm_share for angle in (10, 60, 90)]
    assert shares == sorted(shares, reverse=True)
    followed = turning.follow(90)
    assert followed.warm_share == pytest.approx(followed.cold_share, abs=0.05)


def test_the_same_angle_gives_the_same_numbers() -> None:
    assert turning.follow(25) == turning.follow(25)
    assert turning.follow(25) != turning.follow(30)


def test_shares_leave_the_first_step_out() -> None:
    followed = turning.Following(best=(1.0, 0.8, 0.5), warm=(0.0, 0.4, 0.5), cold=(0.0, 0.2, 0.1))
    assert followed.warm_share == pytest.approx((0.5 + 1.0) / 2)
    assert followed.cold_share == pytest.approx((0.25 + 0.2) / 2)
