"""Lossless layers that keep fewer bytes for backward than PyTorch's, and the surgery for them.

What a compressed layer no longer keeps of its input, its neighbours still do: a normalisation keeps
its input even where its gradient does not depend on it, and an activation keeps a number where one
bit would tell. The layers here give the same output and the same gradient to the last bit, because
they call PyTorch's own kernels; only what is folded into a compressed layer, if that is asked for,
is rounded differently (`lean.conv_norm`). A new one is a file or class here and a line in
`registry`.
"""

from asi_core.layers.lean.activations import LeanReLU, LeanReLU6
from asi_core.layers.lean.bits import packed_bits, unpacked_bits
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.lean.pooling import LeanAdaptiveAvgPool2d, LeanMean
from asi_core.layers.lean.surgery import LeanReport, lean_, lean_layers_, unlean_
from asi_core.layers.lean.tracing import LayerTracer

__all__ = [
    "LayerTracer",
    "LeanAdaptiveAvgPool2d",
    "LeanBatchNorm2d",
    "LeanLayer",
    "LeanMean",
    "LeanReLU",
    "LeanReLU6",
    "LeanReport",
    "lean_",
    "lean_layers_",
    "packed_bits",
    "unlean_",
    "unpacked_bits",
]
