"""Singular values of unfoldings, and the energy that a truncation keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from asi_core.linalg.krylov import leading_eigenvectors
from asi_core.linalg.unfolding import gram, mode_gram, mode_product, orthonormal, unfold

Solver = Literal["gram", "svd"]

# Error of eigenvalues in single precision, as a share of the energy.
_DOUBT = 1e-4
# In this range, squares of small entries and their sums stay within single precision.
_SAFE_ENERGY = (1e-20, 1e30)


def singular_values(tensor: Tensor, mode: int) -> Tensor:
    """Singular values of the mode's unfolding, descending, as float64.

    Computed from the eigenvalues of the smaller Gram matrix: values below about 1e-8 of the largest
    are rounding errors.
    """
    return _descending_roots(torch.linalg.eigvalsh(_small_gram(_widened(tensor), mode)))


def leading_vectors(
    tensor: Tensor,
    mode: int,
    *,
    rank: int | None = None,
    explained_variance: float | None = None,
    solver: Solver = "gram",
) -> Tensor:
    """Leading left singular vectors of the mode's unfolding, D x r, in the tensor's type.

    Args:
        rank: number of vectors; or
        explained_variance: as many vectors as reach this share of the energy.
        solver: "svd" decomposes the unfolding; "gram" takes eigenvectors of its smaller Gram
            matrix: the same ranks, and the same energy to 1e-4 of the total, in a fraction of the
            time. In double precision, or if the matrix is small, the same subspaces.
    """
    if solver == "svd":
        vectors, values, _ = torch.linalg.svd(unfold(tensor, mode), full_matrices=False)
        kept = _given_or_reaching(rank, values, explained_variance)
        # Cloned: a view would keep the storage of the whole basis alive until backward.
        copied: Tensor = vectors[:, :kept].clone()
        return copied
    vectors = _side_vectors(tensor, mode, rank, explained_variance)
    return _left_vectors(tensor, mode, vectors)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The decomposition of one mode's unfolding.

    Attributes:
        values: its singular values, descending. In single precision, those below about 3e-4 of the
            largest are rounding errors.
    """

    tensor: Tensor
    mode: int
    values: Tensor
    _gram_vectors: Tensor

    def leading(self, rank: int) -> Tensor:
        """The first `rank` left singular vectors, D x rank, in the tensor's type."""
        return _left_vectors(self.tensor, self.mode, self._gram_vectors[:, -rank:].flip(-1))


def decompose(tensor: Tensor, mode: int) -> Decomposition:
    """Singular values and vectors of the mode's unfolding, from its smaller Gram matrix."""
    small = _single_gram(tensor, mode)
    if small is None:
        small = _small_gram(_widened(tensor), mode)
    return Decomposition(tensor, mode, *_eigen(small))


def _side_vectors(
    tensor: Tensor, mode: int, rank: int | None, explained_variance: float | None
) -> Tensor:
    """Leading eigenvectors of the mode's smaller Gram matrix, descending.

    In single precision, which takes half the time, and again in double precision if rounding
    could change the rank or the numbers exceed the range of single precision.
    """
    small = _single_gram(tensor, mode)
    if small is not None:
        found = leading_eigenvectors(
            small, rank=rank, explained_variance=explained_variance, doubt=_DOUBT
        )
        if found is not None:
            return found
        values, vectors = _eigen(small)
        if explained_variance is None or not _is_close_call(values, explained_variance):
            kept = _given_or_reaching(rank, values, explained_variance)
            return vectors[:, -kept:].flip(-1)
    values, vectors = _eigen(_small_gram(_widened(tensor), mode))
    return vectors[:, -_given_or_reaching(rank, values, explained_variance) :].flip(-1)


def _left_vectors(tensor: Tensor, mode: int, vectors: Tensor) -> Tensor:
    """Leading left singular vectors, from those of the mode's smaller Gram matrix."""
    vectors = vectors.to(tensor)
    if _is_tall(tensor, mode):
        # The Gram matrix is of the other side: A v is u times its singular value, and QR of the
        # products in descending order keeps every leading subspace. Transposed, the product of a
        # long matrix with few columns is several times faster.
        products = vectors.T.contiguous() @ unfold(tensor, mode).T
        vectors = orthonormal(products.T)
    return vectors.contiguous()


def _single_gram(tensor: Tensor, mode: int) -> Tensor | None:
    """The smaller Gram matrix in single precision; None for a double-precision tensor, or if it
    leaves the range."""
    if tensor.dtype == torch.float64:
        return None
    narrow = tensor.float() if _knows_float64(tensor.device) else tensor.cpu().float()
    small = _small_gram(narrow, mode)
    return small if _SAFE_ENERGY[0] < float(small.diagonal().sum()) < _SAFE_ENERGY[1] else None


def _eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    eigenvalues, vectors = torch.linalg.eigh(symmetric)
    return _descending_roots(eigenvalues), vectors


def _is_close_call(values: Tensor, explained_variance: float) -> bool:
    """Whether a number of singular values explains almost exactly the requested share."""
    energy = _widened(values).square().cumsum(0)
    return bool(((energy - explained_variance * energy[-1]).abs() <= _DOUBT * energy[-1]).any())


def _given_or_reaching(rank: int | None, values: Tensor, explained_variance: float | None) -> int:
    if rank is not None:
        return rank
    assert explained_variance is not None
    return rank_for_energy(values, explained_variance)


def rank_for_energy(values: Tensor, explained_variance: float) -> int:
    """The smallest rank whose squared singular values reach `explained_variance` of their sum."""
    energy = _widened(values).square()
    total = energy.sum()
    if not total > 0:
        return 1
    reached = energy.cumsum(0) >= explained_variance * total
    # At an explained variance of 1, rounding can leave the last sum short of the total.
    return int(reached.int().argmax()) + 1 if bool(reached.any()) else len(values)


def ranks_for_energy(tensor: Tensor, explained_variance: float) -> tuple[int, ...]:
    """Per mode, the smallest rank that explains `explained_variance` of the unfolding."""
    return tuple(
        rank_for_energy(singular_values(tensor, mode), explained_variance)
        for mode in range(tensor.dim())
    )


def captured_energy(tensor: Tensor, factors: Sequence[Tensor | None]) -> float:
    """Share of the squared norm that the projection on the factors' spans keeps, 0 to 1.

    Args:
        factors: orthonormal, one per mode, None for a mode that is not projected.
    """
    total = _widened(tensor).square().sum()
    if not total > 0:
        return 1.0
    core = tensor
    for mode, factor in enumerate(factors):
        if factor is not None:
            core = mode_product(core, factor.T, mode)
    return float(_widened(core).square().sum() / total)


def principal_angles(left: Tensor, right: Tensor) -> tuple[float, ...]:
    """Principal angles between the spans of two orthonormal D x K matrices, degrees, ascending.

    Computed from sines for small angles and from cosines for large ones, so that neither loses
    digits (Knyazev & Argentati, SIAM J. Sci. Comput. 2002).
    """
    a, b = _widened(left), _widened(right)
    inner = a.T @ b
    cosines = torch.linalg.svdvals(inner).clamp(0, 1)
    sines = torch.linalg.svdvals(b - a @ inner).flip(-1).clamp(0, 1)
    angles = torch.where(cosines.square() < 0.5, cosines.acos(), sines.asin())
    return tuple(angles.rad2deg().tolist())


def _is_tall(tensor: Tensor, mode: int) -> bool:
    return tensor.shape[mode] > tensor.numel() // tensor.shape[mode]


def _small_gram(tensor: Tensor, mode: int) -> Tensor:
    if _is_tall(tensor, mode):
        return gram(unfold(tensor, mode).T)
    return mode_gram(tensor, mode)


def _widened(tensor: Tensor) -> Tensor:
    """In float64; on the CPU if the device does not support it."""
    return tensor.double() if _knows_float64(tensor.device) else tensor.cpu().double()


@lru_cache
def _knows_float64(device: torch.device) -> bool:
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def _descending_roots(eigenvalues: Tensor) -> Tensor:
    return eigenvalues.flip(-1).clamp_min(0).sqrt()
