"""Low-rank adaptation: a small update is trained, and the layer's own weight is frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Annotated, ClassVar, Literal

from asi_core.fields import Setting
from asi_core.methods.asi import SubspaceIteration
from asi_core.methods.base import Adapter, Method, MethodStyle
from asi_core.methods.costs import dense_step
from asi_core.methods.vanilla import KeepsInput
from asi_core.records import (
    ELEMENT_BYTES,
    Convention,
    LayerShape,
    Macs,
    Ranks,
    pointwise_geometry,
)


class LowRankAdaptation(Method):
    """A method that trains B A in place of a layer's weight W, whose update it is.

    What a further base class keeps of a layer's input is kept here of A's, which is the same input;
    besides, the output of A is kept for B's gradient. In a grouped convolution each group has an A
    and a B of its own, so that the update can be merged into the weight. A starts with uniform
    random numbers and B at zero, as in PEFT. The layer's bias is frozen.

    Attributes:
        lora_rank: channels between A and B, in each group.
        lora_alpha: the update is scaled by `lora_alpha / lora_rank`.
    """

    letters: ClassVar[Mapping[str, str]] = {"lora_rank": "r"}
    # Of a weight that starts as B A = 0 (docs/decisions/0117).
    learning_rates: ClassVar[Mapping[str, float]] = {"sgd": 0.2, "adamw": 0.003}
    lora_rank: Annotated[
        int,
        Setting(
            "Adapter rank",
            "r: the channels between the two matrices that LoRA trains.",
            least=1,
            # Larger than any layer's channels.
            most=65536,
            step=1,
            way_out="8 is usual",
        ),
    ] = 8
    lora_alpha: Annotated[
        float,
        Setting(
            "Adapter alpha",
            "LoRA's update is scaled by alpha over the adapter rank.",
            above=0,
            step=1,
            way_out="take the adapter rank",
            plural="adapter alphas",
        ),
    ] = 8

    @property
    def adapter(self) -> Adapter:
        return Adapter(self.lora_rank, self.lora_alpha / self.lora_rank, trains_a=True)

    def is_exact(self, shape: LayerShape) -> bool:
        return False

    @property
    def settings_label(self) -> str:
        return ", ".join((self.label, *self._adapter_labels))

    @property
    def _adapter_labels(self) -> tuple[str, ...]:
        changed = self.lora_alpha != type(self).model_fields["lora_alpha"].default
        alpha = (f"alpha {self.lora_alpha:g}",) if changed else ()
        return (f"adapter rank {self.lora_rank}", *alpha)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        a, b = self._parts(shape)
        of_input = super().saved_bytes(a, ranks, convention) if self.adapter.trains_a else 0
        return of_input + ELEMENT_BYTES * prod(b.input_shape)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        a, b = self._parts(shape)
        of_a = _frozen(a, convention)
        if self.adapter.trains_a:
            of_a = super().macs(a, ranks, convention)
        return _frozen(shape, convention) + of_a + dense_step(b, convention)

    def _parts(self, shape: LayerShape) -> tuple[LayerShape, LayerShape]:
        """A and B as layers."""
        groups = shape.geometry.groups
        of_a, of_b = self.adapter.shapes(shape.weight_shape, groups)
        between = list(shape.output_shape)
        between[shape.channel_mode] = of_a[0]
        a = replace(shape, output_shape=tuple(between), weight_shape=of_a)
        b = replace(
            shape,
            input_shape=tuple(between),
            weight_shape=of_b,
            geometry=pointwise_geometry(shape.geometry),
            # The gradient of A needs that of its output.
            has_input_gradient=self.adapter.trains_a or shape.has_input_gradient,
        )
        return a, b


def _frozen(shape: LayerShape, convention: Convention) -> Macs:
    return replace(dense_step(shape, convention), weight_gradient=0)


class LoRA(LowRankAdaptation, KeepsInput):
    """Trains B A beside a frozen weight; keeps the whole input, for A, and A's output, for B.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022); of
    convolutions as in PEFT, with A of the layer's kernel and B of 1 x 1.
    """

    kind: Literal["lora"] = "lora"
    label: ClassVar[str] = "LoRA"
    summary: ClassVar[str] = (
        "Low-rank adaptation (ICLR 2022): each trained layer's weight is frozen, and two small "
        "matrices beside it are trained."
    )
    saves: ClassVar[str] = (
        "It saves weight gradients and optimiser state, not activations: the whole input is kept "
        "for the first matrix, and its output for the second. (PEFT's adapters keep twice as much "
        "as full fine-tuning if they have dropout, which is not used here.)"
    )
    style: ClassVar[MethodStyle] = MethodStyle("#A8437A", "longdash", "triangle-down")
    kept: ClassVar[str] = "the input itself"
    why_no_picture: ClassVar[str] = "LoRA keeps the input as it is, so there is nothing to rebuild."


class LoRAFA(LowRankAdaptation, KeepsInput):
    """LoRA with a frozen A: only B is trained, and only A's output is kept.

    Source: Zhang et al., "LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models
    Fine-tuning" (2023).
    """

    kind: Literal["lora_fa"] = "lora_fa"
    label: ClassVar[str] = "LoRA-FA"
    summary: ClassVar[str] = (
        "Low-rank adaptation with the first of the two matrices frozen (2023), so that only the "
        "input of the second is kept."
    )
    saves: ClassVar[str] = (
        "It saves activations, weight gradients and optimiser state; what is trained is one small "
        "matrix, of outputs x adapter rank."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#B3567E", "dash", "triangle-left")
    kept: ClassVar[str] = "a random projection"
    kept_energy: ClassVar[float | None] = None
    why_no_picture: ClassVar[str] = (
        "LoRA-FA keeps what its frozen matrix makes of the input, from which no picture is rebuilt."
    )

    @property
    def adapter(self) -> Adapter:
        return replace(super().adapter, trains_a=False)

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return False


class LoRAOverASI(LowRankAdaptation, SubspaceIteration):
    """LoRA whose A's input is kept by ASI: the settings of both."""

    kind: Literal["lora_asi"] = "lora_asi"
    label: ClassVar[str] = "LoRA over ASI"
    summary: ClassVar[str] = (
        "Low-rank adaptation with the input of the first of the two matrices kept by ASI."
    )
    saves: ClassVar[str] = (
        "It saves activations by ASI, and weight gradients and optimiser state by LoRA; the output "
        "of the first matrix is kept whole."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#3D71A6", "longdashdot", "triangle-right")
    letters: ClassVar[Mapping[str, str]] = LowRankAdaptation.letters

    @property
    def settings_label(self) -> str:
        return ", ".join((super(LowRankAdaptation, self).settings_label, *self._adapter_labels))
