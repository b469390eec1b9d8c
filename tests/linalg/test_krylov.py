"""Leading eigenvectors from Krylov subspaces, against the full decomposition."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asi_core.linalg import krylov
from asi_core.linalg.krylov import ENERGY_TOLERANCE, leading_eigenvectors
from asi_core.linalg.orders import krylov_sizes, usual_krylov_size
from asi_core.linalg.spectra import captured_energy, leading_vectors, rank_for_energy
from asi_core.linalg.tucker import hosvd, whole
from asi_core.linalg.unfolding import gram, unfold

SIDE = 288
DOUBT = 1e-4


@lru_cache
def some_basis(side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(side, side, generator=generator, dtype=torch.float64))[0]


def with_spectrum(values: Tensor) -> Tensor:
    """A symmetric matrix with these eigenvalues, in single precision."""
    basis = some_basis(len(values))
    return ((basis * values) @ basis.T).float()


def decaying(power: float, side: int = SIDE) -> Tensor:
    return torch.arange(1, side + 1, dtype=torch.float64) ** -power


def reached(values: Tensor, share: float) -> int:
    return rank_for_energy(values.sort(descending=True).values.sqrt(), share)


def is_close(values: Tensor, share: float) -> bool:
    sums = values.sort(descending=True).values.cumsum(0) / values.sum()
    return bool(((sums - share).abs() < 2 * DOUBT).any())


def assert_leading(matrix: Tensor, values: Tensor, vectors: Tensor) -> None:
    """Orthonormal, with the largest energy that so many vectors can have."""
    rank = vectors.shape[1]
    identity = torch.eye(rank)
    torch.testing.assert_close(vectors.T @ vectors, identity, atol=2e-5, rtol=0)
    wide = vectors.double()
    energy = float((wide.T @ matrix.double() @ wide).trace() / values.sum())
    most = float(values.sort(descending=True).values[:rank].sum() / values.sum())
    assert most - 1.1 * ENERGY_TOLERANCE <= energy <= most + 1e-5


@given(
    st.sampled_from([256, SIDE, 400]),
    st.floats(0.2, 3),
    st.floats(0.05, 0.99),
    st.integers(1, 40),
)
@settings(max_examples=12)
def test_what_is_proven_is_what_the_full_decomposition_finds(
    side: int, power: float, share: float, equal: int
) -> None:
    """Spectra of all slopes, with some leading values that are equal."""
    values = decaying(power, side)
    values[:equal] = values[0]
    matrix = with_spectrum(values)
    found = leading_eigenvectors(matrix, rank=None, explained_variance=share, doubt=DOUBT)
    if found is not None:
        assert found.shape == (side, reached(values, share))
        assert_leading(matrix, values, found)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75])
def test_a_spectrum_that_decays_is_decided(share: float) -> None:
    values = decaying(1.5)
    assert not is_close(values, share)
    matrix = with_spectrum(values)
    found = leading_eigenvectors(matrix, rank=None, explained_variance=share, doubt=DOUBT)
    assert found is not None
    assert found.shape[1] == reached(values, share)


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_a_given_rank_has_the_largest_energy(rank: int) -> None:
    values = decaying(1.0)
    matrix = with_spectrum(values)
    found = leading_eigenvectors(matrix, rank=rank, explained_variance=None, doubt=DOUBT)
    assert found is not None
    assert found.shape == (SIDE, rank)
    assert_leading(matrix, values, found)


@pytest.mark.parametrize("rank", [1, 3, 17, 40])
def test_a_matrix_of_low_rank_is_not_taken_for_another(rank: int) -> None:
    """Krylov subspaces break down on it: nothing is left of the next block but rounding."""
    values = torch.zeros(SIDE, dtype=torch.float64)
    values[:rank] = 1.0 + torch.arange(rank)
    matrix = with_spectrum(values)
    for share in (0.5, 0.999):
        found = leading_eigenvectors(matrix, rank=None, explained_variance=share, doubt=DOUBT)
        if found is not None:
            assert found.shape[1] == reached(values, share)
            assert_leading(matrix, values, found)


def test_a_rank_that_rounding_could_change_is_left_open() -> None:
    values = decaying(1.5)
    share = float(values[:7].sum() / values.sum())
    matrix = with_spectrum(values)
    for near in (share * (1 - 1e-6), share, share * (1 + 1e-6)):
        assert leading_eigenvectors(matrix, rank=None, explained_variance=near, doubt=DOUBT) is None


def test_a_flat_spectrum_is_given_up_after_the_first_subspace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    monkeypatch.setattr(krylov, "_wanted", lambda shares, *_: sizes.append(len(shares)))
    matrix = with_spectrum(torch.ones(SIDE, dtype=torch.float64))
    assert leading_eigenvectors(matrix, rank=None, explained_variance=0.8, doubt=DOUBT) is None
    assert sizes == [32]


def test_a_direction_that_the_subspace_missed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subspace starts and stays orthogonal to the largest eigenvector."""
    values = decaying(1.5)
    start = torch.zeros(SIDE, krylov.KRYLOV_BLOCK)
    start[1:] = torch.linalg.qr(torch.randn(SIDE - 1, krylov.KRYLOV_BLOCK))[0]
    monkeypatch.setattr(krylov, "_first_block", lambda _: start)
    matrix = torch.diag(values).float()
    monkeypatch.setattr(krylov, "krylov_sizes", lambda *_: [48, 64])
    for share in (0.2, 0.3, 0.5):
        assert (
            leading_eigenvectors(matrix, rank=None, explained_variance=share, doubt=DOUBT) is None
        )


def test_small_matrices_and_large_ranks_are_decomposed_in_full() -> None:
    assert krylov_sizes(255, 1) == []
    assert krylov_sizes(300, 99) == []
    assert krylov_sizes(576, 1) == [32, 48, 64, 96, 144]
    assert krylov_sizes(576, 60) == [64, 96, 144]
    assert usual_krylov_size(255, 1) is None
    assert usual_krylov_size(300, 25) is None
    assert usual_krylov_size(576, 7) == 64


# The factors of a tensor with a side that is large enough ---------------------------------------


def activations(shape: tuple[int, ...], power: float, seed: int = 0) -> Tensor:
    """Channels of falling energy, with ReLU's zeros."""
    generator = torch.Generator().manual_seed(seed)
    channels, rest = shape[1], shape[0] * shape[2] * shape[3]
    mixed = torch.randn(channels, channels, generator=generator) * decaying(power, channels).float()
    x = (mixed @ torch.randn(channels, rest, generator=generator)).relu()
    return x.reshape(channels, shape[0], *shape[2:]).transpose(0, 1).contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(32, 320, 4, 3), (30, 400, 3, 3), (300, 40, 2, 2)])
def test_ranks_and_energy_of_hosvd_are_those_of_the_full_svd(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = activations(shape, 1.0).contiguous(memory_format=layout)
    for share in (0.5, 0.8, 0.95):
        found = hosvd(x, explained_variance=share)
        full = hosvd(x.double(), explained_variance=share, solver="svd")
        assert found.ranks == full.ranks
        kept = [None if factor is None else factor.double() for factor in found.factors]
        energy = captured_energy(x.double(), kept)
        most = captured_energy(x.double(), full.factors)
        assert energy == pytest.approx(most, abs=4 * ENERGY_TOLERANCE)


def test_krylov_subspaces_are_what_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a matrix of that size, no full decomposition is made."""
    x = activations((32, 320, 4, 3), 1.0)
    decomposed = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: (decomposed.append(len(a)), eigh(a))[1])
    vectors = leading_vectors(x, 1, explained_variance=0.8)
    assert max(decomposed) < 320 // 2
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(vectors.shape[1]), atol=2e-5, rtol=0)


def test_degenerate_tensors() -> None:
    shape = (30, 320, 4, 3)
    zero = hosvd(torch.zeros(shape), explained_variance=0.8)
    assert zero.ranks == (1, 1, 1, 1)
    one = hosvd(torch.ones(shape), explained_variance=0.8)
    assert one.ranks == (1, 1, 1, 1)
    assert captured_energy(torch.ones(shape), one.factors) == pytest.approx(1, abs=1e-5)
    for bad in (float("nan"), float("inf")):
        x = activations(shape, 1.0)
        x[3, 7, 1, 2] = bad
        assert hosvd(x, explained_variance=0.8) == whole(x)


@pytest.mark.parametrize("rows", [1, 255, 256, 300, 600])
def test_gram_matrix_of_many_rows_is_the_product(rows: int) -> None:
    matrix = torch.randn(rows, 40, dtype=torch.float64)
    for a in (matrix, matrix.T.contiguous().T):
        torch.testing.assert_close(gram(a), a @ a.T)


def test_a_side_is_that_of_the_smaller_gram_matrix() -> None:
    x = activations((30, 400, 3, 3), 1.0)
    expected = torch.linalg.svd(unfold(x, 1).double(), full_matrices=False)
    share = 0.7
    vectors = leading_vectors(x, 1, explained_variance=share).double()
    rank = rank_for_energy(expected.S, share)
    assert vectors.shape == (400, rank)
    overlap = torch.linalg.svdvals(vectors.T @ expected.U[:, :rank])
    assert float(overlap.min()) > 0.99
