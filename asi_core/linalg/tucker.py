"""Tucker forms of a tensor: a small core and one orthonormal factor per mode.

A mode kept at full rank needs no factor: it is None, and nothing is computed or stored for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from asi_core.linalg.orders import reduction_order, uses_gram
from asi_core.linalg.spectra import Solver, leading_vectors
from asi_core.linalg.unfolding import Ordered, mode_product, orthonormal


class Tucker(NamedTuple):
    """core x_0 factors[0] x_1 factors[1] ...; a factor is size x rank, or None for the identity."""

    core: Tensor
    factors: tuple[Tensor | None, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(self.core.shape)


def whole(tensor: Tensor) -> Tucker:
    """The form that keeps everything: the tensor as its core."""
    return Tucker(tensor, (None,) * tensor.dim())


def reconstruct(tucker: Tucker) -> Tensor:
    """The full tensor. For tests and pictures: no gradient is computed through it."""
    tensor = tucker.core
    for mode, factor in enumerate(tucker.factors):
        if factor is not None:
            tensor = mode_product(tensor, factor, mode)
    return tensor


def subspace_tucker(
    tensor: Tensor, start: Sequence[Tensor | None], *, sequential: bool, iterations: Sequence[int]
) -> Tucker:
    """One subspace iteration per mode, from the previous step's factors (ASI, ICML 2025, alg. 1).

    Args:
        tensor: batch x channel x height x width.
        start: one size x rank matrix per mode; None leaves the mode at full rank.
        sequential: project each mode before the next one is iterated, so that later modes work on
            a smaller tensor; otherwise every mode is iterated on the full tensor, as in the paper.
        iterations: number of iterations for each mode (1 from a warm start); 0 only projects it.
    """
    ranks = [tensor.shape[m] if f is None else f.shape[1] for m, f in enumerate(start)]
    factors: list[Tensor | None] = [None] * tensor.dim()
    core = whole = Ordered.of(tensor)
    for mode in reduction_order(tensor.shape, ranks):
        factor = start[mode]
        assert factor is not None
        source = core if sequential else whole
        for _ in range(iterations[mode]):
            factor = iterate(source, factor, mode)
        factors[mode] = factor
        core = core.product(factor.T, mode)
    return Tucker(tensor if core is whole else core.tensor(), tuple(factors))


def hosvd(
    tensor: Tensor,
    *,
    ranks: Sequence[int] | None = None,
    explained_variance: float | None = None,
    solver: Solver = "gram",
) -> Tucker:
    """Truncated higher-order SVD (De Lathauwer et al. 2000): every basis from the full tensor.

    Args:
        ranks: one per mode, each at most the mode's size; or
        explained_variance: per mode the smallest rank that reaches it, 0 to 1.

    Returns:
        The truncated form. A tensor that is not finite has no bases and is returned unchanged.
    """
    try:
        bases = [
            _basis(tensor, mode, None if ranks is None else ranks[mode], explained_variance, solver)
            for mode in range(tensor.dim())
        ]
    except LinAlgError:
        if bool(tensor.isfinite().all()):
            raise
        return whole(tensor)
    kept = [tensor.shape[m] if f is None else f.shape[1] for m, f in enumerate(bases)]
    core = tensor
    for mode in reduction_order(tensor.shape, kept):
        factor = bases[mode]
        assert factor is not None
        core = mode_product(core, factor.T, mode)
    return Tucker(core, tuple(bases))


def _basis(
    tensor: Tensor, mode: int, rank: int | None, explained_variance: float | None, solver: Solver
) -> Tensor | None:
    """The kept part of a mode's basis; None if it is the whole basis."""
    size = tensor.shape[mode]
    if rank is not None and rank >= size:
        return None
    basis = leading_vectors(
        tensor, mode, rank=rank, explained_variance=explained_variance, solver=solver
    )
    return basis if basis.shape[1] < size else None


def iterate(tensor: Ordered, factor: Tensor, mode: int) -> Tensor:
    """An orthonormal basis of A A^T U, with A the mode's unfolding."""
    size, rank = factor.shape
    if uses_gram(size, tensor.dense.numel() // size, rank):
        return orthonormal(tensor.inner(tensor, mode) @ factor)
    return orthonormal(tensor.inner(tensor.product(factor.T, mode), mode))
