"""VeLoRA (NeurIPS 2024): sub-tokens as multiples of one fixed vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from asi_core import linalg
from asi_core.counting import ceil_div
from asi_core.fields import Setting
from asi_core.methods.base import Method, MethodStyle, Saved, WarmStart
from asi_core.methods.costs import dense_step
from asi_core.records import ELEMENT_BYTES, Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class VeLoRA(Method):
    """Keeps one number per sub-token: its coefficient along one vector, found on the first batch.

    A token is the input's channels at one position, of a linear layer or, which is not in the
    paper, of a convolution. It is cut into sub-tokens; the last one of a token, or of a group of
    channels, is completed with zeros. The vector is the mean sub-token of the first batch that has
    one (finite and not zero), with norm 1. The weight gradient is that of the input rebuilt from
    the coefficients, and the input gradient is exact. A layer with one channel per group, such as a
    depthwise convolution, has nothing to cut and keeps its input.

    Source: Miles et al., "VeLoRA: Memory Efficient Training using Rank-1 Sub-Token Projections".

    Attributes:
        subtoken: length of a sub-token, in channels; at most the channels of a group are used.
    """

    kind: Literal["velora"] = "velora"
    label: ClassVar[str] = "VeLoRA"
    summary: ClassVar[str] = (
        "A method (NeurIPS 2024) that cuts each token into sub-tokens and keeps one coefficient of "
        "each, along a vector that is found once."
    )
    saves: ClassVar[str] = (
        "It saves activations of layers with many channels, and none of a depthwise convolution; "
        "weight gradients and optimiser state stay as large as without it."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#8A5CB2", "dashdot", "cross")
    kept: ClassVar[str] = "one number per sub-token"
    why_no_picture: ClassVar[str] = (
        "VeLoRA rebuilds all channels of a sub-token as multiples of one vector: no Tucker form "
        "has this picture."
    )
    letters: ClassVar[Mapping[str, str]] = {"subtoken": "m"}
    subtoken: Annotated[
        int,
        Setting(
            "Sub-token",
            "m: the channels that are kept as one number. 1 keeps the input.",
            least=1,
            # Larger than any layer's channels.
            most=65536,
            step=1,
            unit="channels",
            way_out="16 keeps a sixteenth",
        ),
    ] = 16

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(subtoken=4), cls(subtoken=1), cls(subtoken=1000)

    def is_exact(self, shape: LayerShape) -> bool:
        return self._length(shape) == 1

    @property
    def settings_label(self) -> str:
        return f"{self.label}, sub-token {self.subtoken}"

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        mode = geometry.channel_mode(x.dim())
        length = min(self.subtoken, x.shape[mode] // geometry.groups)
        if length == 1:
            return (x,)
        vector = self._vector(x, length, mode, geometry.groups, memory)
        return linalg.subtokens.coefficients(x, vector, mode, geometry.groups), vector

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        kept, *vectors = saved
        assert kept is not None
        if not vectors:
            return linalg.gradients.weight_gradient(kept, grad_output, weight_shape, geometry)
        (vector,) = vectors
        assert vector is not None
        return linalg.subtokens.subtoken_gradient(kept, vector, grad_output, weight_shape, geometry)

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return self._length(shape) == 1

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        length = self._length(shape)
        if length == 1:
            return ELEMENT_BYTES * prod(shape.input_shape)
        return ELEMENT_BYTES * (self._coefficients(shape) + length)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        step, length = dense_step(shape, convention), self._length(shape)
        if length == 1:
            return step
        outputs, channels, *taps = shape.weight_shape
        pieces = ceil_div(channels, length)
        product = prod(shape.output_shape) * pieces * prod(taps)
        return replace(
            step,
            overhead=self._coefficients(shape) * length,
            weight_gradient=product + outputs * pieces * length * prod(taps),
        )

    def _length(self, shape: LayerShape) -> int:
        return min(self.subtoken, shape.weight_shape[1])

    def _coefficients(self, shape: LayerShape) -> int:
        """The number of sub-tokens of a batch."""
        sizes, channel = shape.input_shape, shape.channel_mode
        tokens = prod(sizes[:channel] + sizes[channel + 1 :])
        return tokens * shape.geometry.groups * ceil_div(shape.weight_shape[1], self._length(shape))

    def _vector(self, x: Tensor, length: int, mode: int, groups: int, memory: WarmStart) -> Tensor:
        """The vector in use; a batch without a mean direction gets a constant one, for itself."""
        known = memory.factors.get(mode)
        if known is not None and len(known) == length:
            return known[:, 0].to(x)
        found = linalg.subtokens.mean_direction(x, length, mode, groups)
        if found is None:
            return x.new_full((length,), length**-0.5)
        memory.factors, memory.age = {mode: found[:, None]}, 1
        return found
