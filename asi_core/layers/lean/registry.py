"""Which layers have a lean form."""

from __future__ import annotations

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
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.lean.pooling import LeanAdaptiveAvgPool2d, LeanMaxPool2d, LeanMean

LEAN: dict[type[nn.Module], type[LeanLayer]] = {
    kind.plain: kind
    for kind in (
        LeanAdaptiveAvgPool2d,
        LeanBatchNorm2d,
        LeanDropout,
        LeanHardsigmoid,
        LeanHardtanh,
        LeanLeakyReLU,
        LeanMaxPool2d,
        LeanMean,
        LeanReLU,
        LeanReLU6,
    )
}
