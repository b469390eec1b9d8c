"""The leading eigenvectors of a Gram matrix from a small Krylov subspace, with a proof.

A block Krylov subspace of the matrix contains its leading eigenvectors almost exactly after a few
products (Golub & Van Loan, 4th ed., section 10.3; Musco & Musco, NeurIPS 2015). Its Ritz values t_i
never exceed the eigenvalues l_i. That they are not much smaller either is proven afterwards: with
the r leading Ritz vectors X, G <= (t_r + s) I + X diag(t_i - t_r) X^T implies l_i <= t_i + s for
all i <= r, as eigenvalues grow with the matrix (Horn & Johnson, 2nd ed., 4.3), and one Cholesky
factorisation decides whether it holds. So the number of eigenvalues that reach a share of the trace
is certain, although most eigenvalues are never computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from asi_core.linalg.orders import KRYLOV_BLOCK, krylov_sizes

# The energy of the vectors found is at most this share of the trace below the largest possible.
ENERGY_TOLERANCE = 1e-4
# Largest deviation of X^T X from the identity, Frobenius norm.
_ORTHONORMAL = 1e-5
# A proof is tried once the squared residual is below this part of what it can tolerate.
_RESIDUAL_PART = 0.5
# How much larger than the last Ritz values the following eigenvalues may be: decides about time
# only.
_OPTIMISM = 2.0


class _Ritz(NamedTuple):
    """Ritz values, descending, in double precision on the CPU, and what they come from."""

    values: Tensor
    basis: Tensor
    image: Tensor
    coefficients: Tensor

    def vectors(self, rank: int) -> Tensor:
        vectors: Tensor = self.basis @ self.coefficients[:, :rank]
        return vectors


class _Wanted(NamedTuple):
    """A number of eigenpairs, and how much larger each eigenvalue may be than the Ritz value."""

    rank: int
    slack: float


def leading_eigenvectors(
    gram: Tensor, *, rank: int | None, explained_variance: float | None, doubt: float
) -> Tensor | None:
    """The leading eigenvectors of a symmetric positive semidefinite matrix, descending, n x r.

    Args:
        gram: n x n, of positive finite trace.
        rank: the number of vectors; or
        explained_variance: as many as reach this share of the trace.
        doubt: the error of a sum of eigenvalues by rounding, as a share of the trace. A rank that
            it could change is not decided.

    Returns:
        Orthonormal vectors. Their number is that of the full decomposition, and their energy its
        energy, but for `ENERGY_TOLERANCE` of the trace. None if this is not proven, or if the full
        decomposition is expected to be faster.
    """
    total = float(gram.diagonal().sum())
    for ritz in _growing(gram, rank):
        wanted = _wanted(ritz.values / total, rank, explained_variance, doubt)
        if wanted is None:
            if rank is None and _is_hopeless(ritz.values, total, explained_variance, len(gram)):
                return None
            continue
        if (found := _proven(gram, ritz, wanted.rank, wanted.slack * total)) is not None:
            return found
    return None


def _growing(gram: Tensor, rank: int | None) -> Iterator[_Ritz]:
    """Rayleigh-Ritz approximations in Krylov subspaces of growing size."""
    basis = _first_block(gram)
    image = gram @ basis
    for size in krylov_sizes(len(gram), rank or 1):
        while basis.shape[1] < size:
            block = _orthonormal_to(basis, image[:, -KRYLOV_BLOCK:])
            basis = torch.cat((basis, block), 1)
            image = torch.cat((image, gram @ block), 1)
        values, coefficients = torch.linalg.eigh(basis.T @ image)
        yield _Ritz(values.flip(0).cpu().double(), basis, image, coefficients.flip(1))


def _first_block(gram: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(len(gram), KRYLOV_BLOCK, generator=generator).to(gram)
    basis: Tensor = torch.linalg.qr(gaussian)[0]
    return basis


def _orthonormal_to(basis: Tensor, block: Tensor) -> Tensor:
    """An orthonormal basis of the part of `block` that is orthogonal to `basis`.

    Twice, as the first time loses digits where little of the block is left.
    """
    for _ in range(2):
        block = torch.linalg.qr(block - basis @ (basis.T @ block))[0]
    return block


def _wanted(
    shares: Tensor, rank: int | None, explained_variance: float | None, doubt: float
) -> _Wanted | None:
    """What is to be proven, in shares of the trace; None if the subspace is too small for it, or
    the rank is in doubt."""
    if rank is not None:
        return _Wanted(rank, ENERGY_TOLERANCE / rank) if rank < len(shares) else None
    assert explained_variance is not None
    energy = shares.cumsum(0)
    below = int((energy < explained_variance + doubt).sum())
    if below >= len(shares):
        return None
    least = explained_variance - doubt - (float(energy[below - 1]) if below else 0.0)
    slack = min(least, ENERGY_TOLERANCE) / (below + 1)
    return _Wanted(below + 1, slack) if slack > 0 else None


def _is_hopeless(values: Tensor, total: float, explained_variance: float | None, side: int) -> bool:
    """Whether even the largest subspace is not expected to reach the share."""
    assert explained_variance is not None
    *_, largest = krylov_sizes(side, 1)
    following = _OPTIMISM * float(values[-KRYLOV_BLOCK:].mean()) * (largest - len(values))
    return float(values.sum()) + following < explained_variance * total


def _proven(gram: Tensor, ritz: _Ritz, rank: int, slack: float) -> Tensor | None:
    """The leading Ritz vectors if each eigenvalue exceeds its Ritz value by `slack` at most."""
    vectors = ritz.vectors(rank)
    values = ritz.values[:rank].to(vectors)
    last = float(values[-1])
    residual = ritz.image @ ritz.coefficients[:, :rank] - vectors * values
    if float(residual.square().sum()) > _RESIDUAL_PART * slack * (last + slack):
        return None
    overlap = vectors.T @ vectors
    overlap.diagonal().sub_(1)
    if not float(overlap.norm()) <= _ORTHONORMAL:
        return None
    difference = torch.addmm(gram, vectors * (values - last), vectors.T, beta=-1)
    difference.diagonal().add_(last + slack)
    _, info = torch.linalg.cholesky_ex(difference)
    return vectors if int(info) == 0 else None
