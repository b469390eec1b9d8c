"""Records shared by several packages: the shape of a trained layer, and a count of MACs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple, TypeVar

Convention = Literal["paper", "exact"]
Ranks = tuple[int, ...]
Known = TypeVar("Known")

# Kind and label of runs that train the new classifier only.
HEAD_KIND = "head"
HEAD_LABEL = "Linear probe (head only)"

# Bytes per number in single precision, the default for activations.
ELEMENT_BYTES = 4


def of_whole_batches(
    values: Sequence[Known], forward_macs: Sequence[float | None]
) -> Sequence[Known]:
    """The values of the steps with a whole batch: the last batch of an epoch may have fewer images,
    and less to keep and to compute.

    Args:
        values: one per step.
        forward_macs: of the same steps, which tell the size of the batch; where some are None, for
            a method without closed form, all steps are used.
    """
    known = [macs for macs in forward_macs if macs is not None]
    if not known or len(known) < len(forward_macs):
        return values
    most = max(known)
    return [value for value, macs in zip(values, forward_macs, strict=True) if macs == most]


class ConvGeometry(NamedTuple):
    """Stride, padding, dilation and groups of a convolution.

    `padding` is (top, bottom, left, right): the two sides may differ, as with 'same' and an even
    kernel.
    """

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def channel_mode(self, modes: int) -> int:
        """The mode that the weight contracts, of an input with `modes` modes."""
        return 1

    @property
    def symmetric_padding(self) -> bool:
        top, bottom, left, right = self.padding
        return top == bottom and left == right

    def is_pointwise(self, weight_shape: tuple[int, ...]) -> bool:
        """Whether the convolution is a matrix product over the channels, position by position."""
        return (
            tuple(weight_shape[2:]) == (1, 1)
            and self.stride == (1, 1)
            and self.padding == (0, 0, 0, 0)
            and self.groups == 1
        )

    def output_shape(
        self, input_shape: tuple[int, ...], weight_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The shape of the output: batch x channel x height x width."""
        top, bottom, left, right = self.padding
        padded = (input_shape[2] + top + bottom, input_shape[3] + left + right)
        sides = zip(padded, weight_shape[2:], self.stride, self.dilation, strict=True)
        return (
            input_shape[0],
            weight_shape[0],
            *((size - spread * (taps - 1) - 1) // step + 1 for size, taps, step, spread in sides),
        )


class LinearGeometry(NamedTuple):
    """A linear layer: a matrix product over the input's last mode, position by position."""

    groups: int = 1

    def channel_mode(self, modes: int) -> int:
        return modes - 1

    def is_pointwise(self, weight_shape: tuple[int, ...]) -> bool:
        return True

    def output_shape(
        self, input_shape: tuple[int, ...], weight_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The shape of the output: batch x ... x features."""
        return (*input_shape[:-1], weight_shape[0])


Geometry = ConvGeometry | LinearGeometry


def pointwise_geometry(geometry: Geometry) -> Geometry:
    """The geometry of a layer of the same kind and groups that works position by position."""
    if isinstance(geometry, LinearGeometry):
        return geometry
    return ConvGeometry((1, 1), (0, 0, 0, 0), (1, 1), geometry.groups)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The sizes of one trained layer in one training step.

    Attributes:
        input_shape: batch x channel x height x width of a convolution's input; batch x ... x
            features of a linear layer's.
        weight_shape: out channel x in channel / groups x kernel height x kernel width; out x in
            features.
        has_input_gradient: False for the first trained layer, as nothing before it is trained.
        opens_block: whether it reads the input of the trained part of its block
            (`methods.blocks`).
        has_bias: whether the plain layer has a bias.
        input_id: equal for layers that read the same tensor, which plain PyTorch keeps once;
            None if no other trained layer reads it.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    geometry: Geometry
    has_input_gradient: bool
    opens_block: bool = True
    input_id: str | None = None
    has_bias: bool = False

    @property
    def is_linear(self) -> bool:
        return isinstance(self.geometry, LinearGeometry)

    @property
    def is_grouped(self) -> bool:
        """Whether channels are contracted group by group."""
        return self.geometry.groups > 1

    @property
    def is_pointwise(self) -> bool:
        """Whether the layer is a plain matrix product at every position."""
        return self.geometry.is_pointwise(self.weight_shape)

    @property
    def channel_mode(self) -> int:
        """The input's mode that the weight contracts: the last of a linear layer, else 1."""
        return self.geometry.channel_mode(len(self.input_shape))

    @property
    def position_modes(self) -> tuple[int, ...]:
        """The modes between batch and channel, or after the channel: height and width, tokens."""
        modes = range(1, len(self.input_shape))
        return tuple(mode for mode in modes if mode != self.channel_mode)

    @property
    def product_macs(self) -> int:
        """Multiply-accumulates of the layer's forward product (bias not counted)."""
        return prod(self.output_shape) * prod(self.weight_shape[1:])


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates of one training step, by part."""

    forward: int = 0
    overhead: int = 0
    input_gradient: int = 0
    weight_gradient: int = 0

    @property
    def backward(self) -> int:
        return self.input_gradient + self.weight_gradient

    @property
    def total(self) -> int:
        return self.forward + self.overhead + self.backward

    def __add__(self, other: Macs) -> Macs:
        return Macs(
            self.forward + other.forward,
            self.overhead + other.overhead,
            self.input_gradient + other.input_gradient,
            self.weight_gradient + other.weight_gradient,
        )

    def as_dict(self) -> dict[str, int]:
        return {
            "forward": self.forward,
            "overhead": self.overhead,
            "backward": self.backward,
            "total": self.total,
            "input_gradient": self.input_gradient,
            "weight_gradient": self.weight_gradient,
        }
