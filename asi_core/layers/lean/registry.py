"""Which layers have a lean form."""

from __future__ import annotations

from torch import nn

from asi_core.layers.lean.activations import LeanReLU, LeanReLU6
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.normalisation import LeanBatchNorm2d

LEAN: dict[type[nn.Module], type[LeanLayer]] = {
    kind.plain: kind for kind in (LeanBatchNorm2d, LeanReLU, LeanReLU6)
}
