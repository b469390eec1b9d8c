"""Layers that keep fewer bytes for backward than PyTorch's, and the surgery for them.

Besides the compressed layers, their neighbours keep tensors too: a normalisation keeps its input
even where its gradient does not depend on it, and an activation keeps a number per element where
one bit is enough. The layers here give the same output and gradient bit for bit, because they call
PyTorch's own kernels. There are two exceptions, both options: a normalisation folded into a
compressed layer changes the rounding (`lean.conv_norm`), and layers that keep what their gradients
need in 8 or 4 bits have approximate gradients (`lean.rounded`). To add a layer, write a class here
and add a line to `registry`.
"""

from asi_core.layers.lean.activations import LeanReLU, LeanReLU6
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.lean.pooling import LeanAdaptiveAvgPool2d, LeanMean
from asi_core.layers.lean.registry import LeanForms
from asi_core.layers.lean.surgery import LeanReport, lean_, lean_layers_, repeat_attention_, unlean_
from asi_core.layers.lean.tracing import LayerTracer

__all__ = [
    "LayerTracer",
    "LeanAdaptiveAvgPool2d",
    "LeanBatchNorm2d",
    "LeanForms",
    "LeanLayer",
    "LeanMean",
    "LeanReLU",
    "LeanReLU6",
    "LeanReport",
    "lean_",
    "lean_layers_",
    "repeat_attention_",
    "unlean_",
]
