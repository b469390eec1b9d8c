"""Categories of modules and functions: what a storage is kept for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from asi_core.costs.timeline.records import Category

# A module belongs to the file of torch.nn.modules that defines its type or a base of it.
_FILES = {
    **dict.fromkeys(["conv", "linear"], Category.OTHER_INPUTS),
    nn.modules.sparse.__name__.rpartition(".")[2]: Category.OTHER_INPUTS,
    **dict.fromkeys(["batchnorm", "instancenorm", "normalization"], Category.NORMALISATION),
    "activation": Category.ACTIVATIONS,
    "pooling": Category.POOLING,
}
_LAYERS = """conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    linear bilinear embedding matmul rmatmul mm bmm mv addmm addbmm baddbmm einsum tensordot
    scaled_dot_product_attention multi_head_attention_forward"""
_ACTIVATIONS = """relu relu6 hardtanh leaky_relu rrelu prelu elu selu celu gelu silu mish glu
    sigmoid logsigmoid hardsigmoid hardswish tanh tanhshrink hardshrink softshrink softplus softsign
    threshold clamp clamp_min clamp_max clip softmax softmin log_softmax gumbel_softmax"""
_NORMALISATIONS = """batch_norm instance_norm layer_norm group_norm rms_norm local_response_norm
    normalize"""
_FUNCTIONS = {
    **dict.fromkeys(_LAYERS.split(), Category.OTHER_INPUTS),
    **dict.fromkeys(_ACTIVATIONS.split(), Category.ACTIVATIONS),
    **dict.fromkeys(_NORMALISATIONS.split(), Category.NORMALISATION),
}


def module_category(module: nn.Module) -> Category | None:
    """The category of a PyTorch module or of a subclass of one; None for any other."""
    if isinstance(module, nn.MultiheadAttention):
        return Category.OTHER_INPUTS
    for kind in type(module).__mro__:
        package, _, file = kind.__module__.rpartition(".")
        if package == "torch.nn.modules" and file in _FILES:
            return _FILES[file]
    return None


def function_category(function: Callable[..., Any]) -> Category | None:
    """The category of `torch.relu`, `Tensor.relu_`, `F.relu` and similar; None for any other."""
    name = getattr(function, "__name__", "").partition(".")[0].strip("_")
    return Category.POOLING if "_pool" in name else _FUNCTIONS.get(name)
