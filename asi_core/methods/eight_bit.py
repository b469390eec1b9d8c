"""8-bit activations: the input in 256 levels per channel, between its minimum and maximum."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from asi_core import linalg
from asi_core.methods.base import Method, MethodStyle, Saved, WarmStart
from asi_core.methods.costs import dense_step
from asi_core.records import ELEMENT_BYTES, Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class EightBit(Method):
    """Keeps one byte per element, and a scale and a minimum per channel."""

    kind: Literal["eight_bit"] = "eight_bit"
    label: ClassVar[str] = "8-bit"
    summary: ClassVar[str] = (
        "A method that keeps each trained layer's input in 256 levels per channel: one byte per "
        "element instead of four."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#CC79A7", "longdash", "pentagon")
    kept: ClassVar[str] = "every element, rounded"
    why_no_picture: ClassVar[str] = (
        "8-bit keeps every element, within half a level: the picture would look the same."
    )

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        return linalg.quantisation.quantised(x, geometry.channel_mode(x.dim()))

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        codes, step, least = saved
        assert codes is not None
        assert step is not None
        assert least is not None
        x = linalg.quantisation.restored(codes, step, least)
        return linalg.gradients.weight_gradient(x, grad_output, weight_shape, geometry)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        channels = shape.input_shape[shape.channel_mode]
        return prod(shape.input_shape) + 2 * ELEMENT_BYTES * channels

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        step = dense_step(shape, convention)
        # One product and one sum per element, for quantising and for dequantising.
        return step + Macs(overhead=2 * prod(shape.input_shape))
