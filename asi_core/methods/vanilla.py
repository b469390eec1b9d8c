"""Plain back-propagation: keeps the whole input."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from asi_core import linalg
from asi_core.methods.base import Method, MethodStyle, Saved, WarmStart
from asi_core.methods.costs import dense_step
from asi_core.records import ELEMENT_BYTES, Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class KeepsInput(Method):
    """A method whose weight gradients are computed from the input itself."""

    kept_energy: ClassVar[float | None] = 1.0

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        return (x,)

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        (x,) = saved
        assert x is not None
        return linalg.gradients.weight_gradient(x, grad_output, weight_shape, geometry)

    def is_exact(self, shape: LayerShape) -> bool:
        return True

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return True

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        return ELEMENT_BYTES * prod(shape.input_shape)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        return dense_step(shape, convention)


class Vanilla(KeepsInput):
    """The baseline for all other methods."""

    kind: Literal["vanilla"] = "vanilla"
    label: ClassVar[str] = "Vanilla"
    summary: ClassVar[str] = "Plain back-propagation: every trained layer's whole input is kept."
    style: ClassVar[MethodStyle] = MethodStyle("#4D4D4D", "solid", "circle")
    kept: ClassVar[str] = "the input itself"
    why_no_picture: ClassVar[str] = (
        "Vanilla keeps the input as it is, so there is nothing to rebuild."
    )
    replaces_layers: ClassVar[bool] = False
