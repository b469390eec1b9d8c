from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import tensorly.decomposition
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asi_core.linalg.spectra import (
    captured_energy,
    leading_vectors,
    principal_angles,
    rank_for_energy,
    ranks_for_energy,
    singular_values,
)
from asi_core.linalg.tucker import Tucker, hosvd, reconstruct, subspace_tucker
from asi_core.linalg.unfolding import random_orthonormal, unfold

tensorly.set_backend("pytorch")


def decaying(shape: tuple[int, ...] = (8, 12, 5, 6), seed: int = 0) -> Tensor:
    """A tensor whose spectra decay in every mode, as activations do."""
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=generator, dtype=torch.float64)
    for mode, size in enumerate(shape):
        weights = 0.6 ** torch.arange(size, dtype=torch.float64)
        tensor = (tensor.movedim(mode, -1) * weights).movedim(-1, mode)
        basis = random_orthonormal(size, size, seed=mode, like=tensor)
        tensor = (tensor.movedim(mode, -1) @ basis).movedim(-1, mode)
    return tensor


@pytest.mark.parametrize("shape", [(8, 12, 5, 6), (2, 40, 3, 3), (40, 3, 2, 2)])
def test_singular_values_are_those_of_the_unfolding(shape: tuple[int, ...]) -> None:
    tensor = decaying(shape)
    for mode in range(4):
        expected = torch.linalg.svdvals(unfold(tensor, mode))
        found = singular_values(tensor, mode)
        torch.testing.assert_close(found, expected, atol=1e-7 * float(expected[0]), rtol=0)


@pytest.mark.parametrize("solver", ["gram", "svd"])
@pytest.mark.parametrize("shape", [(8, 12, 5, 6), (2, 40, 3, 3)])
def test_hosvd_agrees_with_tensorly(shape: tuple[int, ...], solver: str) -> None:
    tensor, ranks = decaying(shape), (2, 5, 2, 3)
    found = hosvd(tensor, ranks=ranks, solver=solver)  # type: ignore[arg-type]
    expected = tensorly.decomposition.tucker(tensor, rank=ranks, n_iter_max=0, init="svd")
    for mode, factor in enumerate(found.factors):
        projector = expected.factors[mode] @ expected.factors[mode].T
        own = torch.eye(shape[mode]).double() if factor is None else factor @ factor.T
        torch.testing.assert_close(own, projector, atol=1e-7, rtol=0)
    assert float(found.core.norm()) == pytest.approx(float(expected.core.norm()), rel=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 1.0])
def test_both_solvers_choose_the_same_ranks(share: float) -> None:
    for seed in range(5):
        tensor = decaying(seed=seed)
        gram = hosvd(tensor, explained_variance=share, solver="gram")
        svd = hosvd(tensor, explained_variance=share, solver="svd")
        assert gram.ranks == svd.ranks == ranks_for_energy(tensor, share)


@pytest.mark.parametrize("share", [0.3, 0.8, 0.9999])
def test_single_precision_chooses_the_ranks_of_double(share: float) -> None:
    for seed in range(10):
        tensor = decaying((16, 24, 3, 3), seed=seed).float()
        exact = ranks_for_energy(tensor.double(), share)
        assert hosvd(tensor, explained_variance=share).ranks == exact


def test_a_close_call_is_decided_in_double_precision() -> None:
    """Shares a billionth above and below what a rank explains: far below float32's rounding."""
    for seed in range(5):
        tensor = decaying((16, 24, 3, 3), seed=seed).float()
        energy = torch.linalg.svdvals(unfold(tensor, 1).double()).square().cumsum(0)
        for rank in (2, 5, 9):
            share = float(energy[rank - 1] / energy[-1])
            below = leading_vectors(tensor, 1, explained_variance=share * (1 - 1e-9))
            above = leading_vectors(tensor, 1, explained_variance=share * (1 + 1e-9))
            assert (below.shape[1], above.shape[1]) == (rank, rank + 1)


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_numbers_whose_squares_leave_single_precision_have_the_same_ranks(scale: float) -> None:
    tensor = decaying((8, 12, 5, 6)).float()
    expected = ranks_for_energy(tensor.double(), 0.8)
    tucker = hosvd(tensor * scale, explained_variance=0.8)
    assert tucker.ranks == expected
    assert tucker.core.isfinite().all()


def test_rank_for_energy_is_the_smallest_that_reaches_the_share() -> None:
    values = torch.tensor([3.0, 2.0, 1.0])
    assert rank_for_energy(values, 9 / 14) == 1
    assert rank_for_energy(values, 9.1 / 14) == 2
    assert rank_for_energy(values, 1.0) == 3
    assert rank_for_energy(torch.zeros(4), 0.8) == 1


def test_full_rank_keeps_the_tensor_itself_and_no_factor() -> None:
    tensor = decaying()
    tucker = hosvd(tensor, ranks=tuple(tensor.shape))
    assert tucker.core is tensor
    assert tucker.factors == (None, None, None, None)


def test_no_factor_keeps_a_larger_storage_alive() -> None:
    tucker = hosvd(decaying(), ranks=(2, 3, 2, 2))
    for part in (tucker.core, *tucker.factors):
        assert part is not None
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


@pytest.mark.parametrize("sequential", [True, False])
def test_warm_iteration_converges_to_the_energy_of_hosvd(sequential: bool) -> None:
    tensor, ranks = decaying(), (3, 4, 2, 3)
    best = captured_energy(tensor, hosvd(tensor, ranks=ranks).factors)
    start = [
        random_orthonormal(size, rank, seed=mode, like=tensor)
        for mode, (size, rank) in enumerate(zip(tensor.shape, ranks, strict=True))
    ]
    factors: tuple[Tensor | None, ...] = tuple(start)
    energies = []
    for _ in range(12):
        tucker = subspace_tucker(tensor, factors, sequential=sequential, iterations=[1] * 4)
        factors = tucker.factors
        energies.append(captured_energy(tensor, factors))
    assert energies[-1] > energies[0]
    assert energies[-1] >= best - 1e-3


def test_core_is_the_projection_and_rebuilds_what_is_captured() -> None:
    tensor = decaying()
    tucker = hosvd(tensor, explained_variance=0.9)
    rebuilt = reconstruct(tucker)
    error = float((tensor - rebuilt).square().sum() / tensor.square().sum())
    assert error == pytest.approx(1 - captured_energy(tensor, tucker.factors), abs=1e-12)


def test_a_mode_left_alone_is_rebuilt_without_a_factor() -> None:
    core = torch.randn(2, 3)
    assert torch.equal(reconstruct(Tucker(core, (None, None))), core)


def test_leading_vectors_of_a_zero_tensor_are_orthonormal() -> None:
    vectors = leading_vectors(torch.zeros(2, 9, 2), 1, rank=2)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(2))


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
def test_principal_angles_are_scipys(size: int, rank: int, seed: int) -> None:
    rank = min(rank, size)
    like = torch.empty(0, dtype=torch.float64)
    left, right = (random_orthonormal(size, rank, seed=seed + i, like=like) for i in (0, 1000))
    expected = np.rad2deg(scipy.linalg.subspace_angles(left.numpy(), right.numpy()))
    assert principal_angles(left, right) == pytest.approx(sorted(expected), abs=1e-5)


@pytest.mark.parametrize("degrees", [1e-9, 1e-4, 30.0, 45.0, 89.9999, 90.0])
def test_small_and_right_angles_keep_their_digits(degrees: float) -> None:
    left = torch.eye(3, 1, dtype=torch.float64)
    angle = np.deg2rad(degrees)
    right = torch.tensor([[np.cos(angle)], [np.sin(angle)], [0.0]])
    assert principal_angles(left, right) == pytest.approx((degrees,), rel=1e-9)
