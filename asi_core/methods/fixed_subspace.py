"""Fixed subspaces: the factors of a Tucker form are found once, and every input is projected."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from asi_core import linalg
from asi_core.methods import costs
from asi_core.methods.asi import core_ranks, tucker_gradient
from asi_core.methods.base import MethodStyle, Saved, WarmStart
from asi_core.methods.tucker_settings import TuckerMethod
from asi_core.records import Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class FixedSubspace(TuckerMethod):
    """Projects every input onto the leading singular vectors of the first batch's unfoldings.

    The batch mode is kept whole, whatever rank is given for it: a later batch has other images, to
    which directions over the first one's mean nothing. So batches of any size are projected alike.

    Factors are found on the first batch that is finite and not all zero; batches before it are kept
    unchanged. A mode's factor is found again only for an input of another size, or if a larger
    batch allows more of a given rank than the first one did. That decomposition is no part of the
    multiply-accumulates of a step. The kept bytes include the factors, which are in memory between
    steps too.

    Source: one-shot HOSVD and reuse of its subspaces, as in LANCE (arXiv 2509.21617).
    """

    kind: Literal["fixed_subspace"] = "fixed_subspace"
    label: ClassVar[str] = "Fixed subspace"
    summary: ClassVar[str] = (
        "Factors of a Tucker form that are found once, on the first batch: later inputs are only "
        "projected onto them."
    )
    saves: ClassVar[str] = (
        "It saves activations, and the work of finding factors; weight gradients and optimiser "
        "state stay as large as without it, and the subspace does not follow the network."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#3B6FB6", "dot", "diamond-tall")

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        self._find_missing(x, memory)
        factors = self.factors(x, memory)
        memory.age += 1 if memory.factors and not memory.is_repeated else 0
        tucker = linalg.tucker.subspace_tucker(
            x, factors, sequential=True, iterations=[0] * x.dim()
        )
        return (tucker.core, *factors)

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        return tucker_gradient(saved, grad_output, weight_shape, geometry)

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...]:
        found = (memory.factors.get(mode) for mode in range(x.dim()))
        return tuple(
            factor.to(x) if factor is not None and factor.shape[0] == size else None
            for factor, size in zip(found, x.shape, strict=True)
        )

    def ranks_of(self, saved: Saved) -> Ranks | None:
        return core_ranks(saved)

    def ranks_for(self, shape: LayerShape) -> Ranks:
        return _whole_batch(super().ranks_for(shape), shape.input_shape)

    def adjusted_ranks(self, shape: LayerShape, ranks: Ranks | None) -> Ranks | None:
        return None if ranks is None else _whole_batch(ranks, shape.input_shape)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        return costs.tucker_bytes(shape.input_shape, ranks or self.ranks_for(shape), convention)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        ranks = ranks or self.ranks_for(shape)
        overhead = costs.projection_overhead(shape.input_shape, ranks)
        return costs.tucker_step(shape, ranks, overhead, convention)

    def _find_missing(self, x: Tensor, memory: WarmStart) -> None:
        """Find the factors that a mode needs and does not have in its size."""
        sizes = tuple(x.shape)
        if memory.ranks is None and self.ranks is None:
            if not _has_directions(x):
                return
            assert self.explained_variance is not None
            found = linalg.spectra.ranks_for_energy(x, self.explained_variance)
            memory.ranks = costs.ranks_below_input(_whole_batch(found, sizes), sizes)
        given = self.ranks if memory.ranks is None else memory.ranks
        assert given is not None
        ranks = _whole_batch(costs.capped_ranks(given, sizes), sizes)
        missing = [
            mode
            for mode, rank in enumerate(ranks)
            if rank < sizes[mode] and not _fits(memory.factors.get(mode), sizes[mode], rank)
        ]
        if missing and _has_directions(x):
            leading = linalg.spectra.leading_vectors
            found_now = {mode: leading(x, mode, rank=ranks[mode]) for mode in missing}
            memory.factors = {**memory.factors, **found_now}


def _fits(factor: Tensor | None, size: int, rank: int) -> bool:
    return factor is not None and factor.shape[0] == size and factor.shape[1] >= rank


def _has_directions(x: Tensor) -> bool:
    """Whether singular vectors of `x` mean anything."""
    return bool(x.isfinite().all()) and bool(x.any())


def _whole_batch(ranks: Ranks, sizes: tuple[int, ...]) -> Ranks:
    return (sizes[0], *ranks[1:])
