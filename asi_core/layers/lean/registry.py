"""Which layers have a lean form."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from asi_core.layers.lean.activations import (
    LeanHardsigmoid,
    LeanHardtanh,
    LeanLeakyReLU,
    LeanReLU,
    LeanReLU6,
)
from asi_core.layers.lean.dropout import LeanDropout
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.normalisation import LeanBatchNorm2d, LeanNormAct2d
from asi_core.layers.lean.pooling import LeanAdaptiveAvgPool2d, LeanMaxPool2d, LeanMean
from asi_core.layers.lean.products import LeanConv2d, LeanLinear
from asi_core.layers.lean.repeated import RepeatedAttention, RoundedNorm
from asi_core.layers.lean.rounded import (
    RoundedCELU,
    RoundedELU,
    RoundedGELU,
    RoundedHardswish,
    RoundedLayer,
    RoundedMish,
    RoundedSELU,
    RoundedSiLU,
    RoundedSoftplus,
)

# The same numbers.
LEAN: dict[type[nn.Module], type[LeanLayer]] = {
    kind.plain: kind
    for kind in (
        LeanAdaptiveAvgPool2d,
        LeanBatchNorm2d,
        LeanConv2d,
        LeanDropout,
        LeanHardsigmoid,
        LeanHardtanh,
        LeanLeakyReLU,
        LeanLinear,
        LeanMaxPool2d,
        LeanMean,
        LeanReLU,
        LeanReLU6,
    )
}
# The same outputs, and approximate gradients.
ROUNDED: dict[type[nn.Module], type[RoundedLayer]] = {
    **{
        kind.plain: kind
        for kind in (
            RoundedCELU,
            RoundedELU,
            RoundedGELU,
            RoundedHardswish,
            RoundedMish,
            RoundedSELU,
            RoundedSiLU,
            RoundedSoftplus,
        )
    },
    **dict.fromkeys((nn.GroupNorm, nn.LayerNorm, nn.RMSNorm), RoundedNorm),
}
# By the names of their types: these libraries are not imported before a model has brought them.
_NORM_ACTS = ("timm.layers.norm_act.BatchNormAct2d",)
_NORMS = (
    *("torchvision.models.convnext.LayerNorm2d", "timm.layers.norm.GroupNorm1"),
    *("timm.layers.norm.LayerNorm", "timm.layers.norm.LayerNorm2d"),
)
_ATTENTION = (
    "torch.nn.modules.activation.MultiheadAttention",
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention",
    "torchvision.models.swin_transformer.ShiftedWindowAttention",
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2",
    "timm.layers.attention.Attention",
    "timm.layers.attention.AttentionRope",
    "timm.models.swin_transformer.WindowAttention",
    "transformers.models.vit.modeling_vit.ViTAttention",
)


@dataclass(frozen=True, slots=True)
class LeanForms:
    """Which lean forms are allowed.

    Attributes:
        bits: in which activations and normalisations keep what their gradients need; None allows
            lossless forms only.
        repeats_attention: whether attention may run again in backward.
    """

    bits: int | None = None
    repeats_attention: bool = False

    def of(self, layer: type[nn.Module]) -> type[LeanLayer] | None:
        """The lean form of layers of this type; None if they have none."""
        if layer in LEAN:
            return LEAN[layer]
        name = f"{layer.__module__}.{layer.__qualname__}"
        if name in _NORM_ACTS:
            return LeanNormAct2d
        if name in _ATTENTION:
            return RepeatedAttention if self.repeats_attention else None
        if self.bits is None:
            return None
        return RoundedNorm if name in _NORMS else ROUNDED.get(layer)

    def made(self, layer: nn.Module) -> LeanLayer | None:
        """The lean layer in place of `layer`, with the same parameters; None if it has none."""
        if isinstance(layer, RoundedLayer):
            # A second call may choose other bits.
            plain = layer.to_plain()
            return self.made(plain) if self.bits not in (None, layer.bits) else None
        form = self.of(type(layer))
        if form is None:
            return None
        made = form.from_plain(layer)
        if isinstance(made, RoundedLayer):
            made.bits = self.bits
        return made
