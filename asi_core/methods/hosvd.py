"""HOSVD: the standard Tucker form of the input, recomputed at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from asi_core import linalg
from asi_core.fields import Setting
from asi_core.methods import costs
from asi_core.methods.asi import core_ranks, tucker_gradient
from asi_core.methods.base import MethodStyle, Saved, WarmStart
from asi_core.methods.tucker_settings import TuckerMethod
from asi_core.records import Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class HOSVD(TuckerMethod):
    """Truncated higher-order SVD with ranks from the explained variance of every batch.

    A batch that is not finite, or whose core and factors would be larger than the batch, is kept
    unchanged.

    Attributes:
        solver: "gram" takes the leading eigenvectors of the smaller Gram matrix (same ranks, each
            mode's energy the same to 1e-4, less work); "svd" decomposes each unfolding, as
            published.
    """

    kind: Literal["hosvd"] = "hosvd"
    label: ClassVar[str] = "HOSVD"
    summary: ClassVar[str] = (
        "Higher-order singular value decomposition: the Tucker form from the leading singular "
        "vectors of every unfolding, recomputed at every step."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#D55E00", "dash", "square")
    solver: Annotated[
        Literal["gram", "svd"],
        Setting(
            "Factors from",
            "Both give the same ranks, and the same energy to 0.01 %. The Gram matrix is several "
            "times faster; the full SVD of every unfolding is the published algorithm.",
            choices={"gram": "the Gram matrix", "svd": "the full SVD"},
            plural="solvers",
        ),
    ] = "gram"

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        tucker = self._decompose(x)
        return (tucker.core, *tucker.factors)

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        return tucker_gradient(saved, grad_output, weight_shape, geometry)

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...]:
        return self._decompose(x).factors

    def ranks_of(self, saved: Saved) -> Ranks | None:
        return core_ranks(saved)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        return costs.tucker_bytes(shape.input_shape, ranks or self.ranks_for(shape), convention)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        ranks = ranks or self.ranks_for(shape)
        if convention == "paper":
            overhead = costs.paper_svd_overhead(shape.input_shape)
        else:
            overhead = costs.hosvd_overhead(
                shape.input_shape, ranks, self.solver, are_given=self.ranks is not None
            )
        return costs.tucker_step(shape, ranks, overhead, convention)

    def _decompose(self, x: Tensor) -> linalg.tucker.Tucker:
        sizes = tuple(x.shape)
        if self.ranks is not None:
            capped = costs.capped_ranks(self.ranks, sizes)
            return linalg.tucker.hosvd(x, ranks=capped, solver=self.solver)
        found = linalg.tucker.hosvd(
            x, explained_variance=self.explained_variance, solver=self.solver
        )
        if costs.ranks_below_input(found.ranks, sizes) == sizes:
            return linalg.tucker.whole(x)
        return found
