"""Results that overwrite a tensor which nobody reads any more, in a traced model.

The numbers stay the same. What may be overwritten follows from the graph. In the forward pass: a
value with one reader, from a layer whose gradient does not need its output, that is neither an
argument of the model nor a view of another value. In the backward pass: the gradient of a value
with one reader, which makes that gradient anew.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from asi_core.layers.adapted import AdaptedConv2d, AdaptedLinear
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.factored import FactoredConv2d, FactoredLinear
from asi_core.layers.lean.activations import (
    LeanHardsigmoid,
    LeanHardtanh,
    LeanLeakyReLU,
    LeanReLU,
    LeanReLU6,
)
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d, FusedBatchNorm2d
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.lean.pooling import LeanAdaptiveAvgPool2d, LeanMean
from asi_core.layers.lean.products import LeanConv2d, LeanLinear
from asi_core.layers.linear import CompressedLinear

# Types of layers, not of classes derived from them, which may compute something else besides.
_ACTIVATIONS = (LeanReLU, LeanReLU6, LeanLeakyReLU, LeanHardtanh, LeanHardsigmoid)
_MEANS = (LeanAdaptiveAvgPool2d, LeanMean)
_COMPRESSED = (CompressedConv2d, CompressedConvNorm2d)
# Layers whose gradient does not need their output, and makes that of their input anew.
_FORGETFUL = (
    *(*_COMPRESSED, CompressedLinear, *_ACTIVATIONS),
    *(AdaptedConv2d, AdaptedLinear, FactoredConv2d, FactoredLinear),
    *(nn.Conv2d, nn.Linear, nn.BatchNorm2d, LeanBatchNorm2d, LeanConv2d, LeanLinear),
)
_RETURN_THEIR_INPUT = (FusedBatchNorm2d, nn.Identity)
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


def overwrite_inputs_(model: GraphModule) -> None:
    """Let lean layers and sums of `model` write into what nobody else reads.

    Where an activation follows, the gradient of a mean is a view: the activation's gradient, which
    overwrites nothing of it, is the first that needs the memory.
    """
    calls: dict[Any, list[Node]] = defaultdict(list)
    for node in model.graph.nodes:
        if node.op == "call_module":
            calls[model.get_submodule(str(node.target))].append(node)
    for layer, nodes in calls.items():
        kind = type(layer)
        if kind in (*_ACTIVATIONS, *_COMPRESSED, LeanBatchNorm2d):
            layer.overwrites_gradient = all(_makes_gradient(model, n) for n in nodes)
        if kind in _ACTIVATIONS:
            layer.inplace = bool(layer.inplace) or all(_is_spare(model, n.args[0]) for n in nodes)
        elif kind in _COMPRESSED:
            layer.overwrites_input = all(_is_spare(model, n.args[0]) for n in nodes)
        elif kind in _MEANS:
            layer.returns_view = all(_is_activation(model, n.args[0]) for n in nodes)
    for node in model.graph.nodes:
        _overwrite_sum_(model, node)
    model.recompile()


def sum_into(x: Tensor, y: Tensor) -> Tensor:
    """`x + y`, written into `x` if it has the shape and the type of the sum."""
    fits = x.shape == torch.broadcast_shapes(x.shape, y.shape)
    if fits and x.dtype == torch.result_type(x, y) and not (x.is_leaf and x.requires_grad):
        return x.add_(y)
    return x + y


def _overwrite_sum_(model: GraphModule, node: Node) -> None:
    if node.target not in _SUMS or node.kwargs or len(node.args) != 2:
        return
    first, second = node.args
    if not (isinstance(first, Node) and isinstance(second, Node)) or first is second:
        return
    spare = next((value for value in (first, second) if _is_spare(model, value)), None)
    if spare is not None:
        node.op, node.target = "call_function", sum_into
        node.args = (spare, second if spare is first else first)


def _is_spare(model: GraphModule, value: Any) -> bool:
    """Whether nobody but one reader needs this value, in either pass."""
    if not isinstance(value, Node) or len(value.users) != 1:
        return False
    if value.op == "call_module":
        layer = model.get_submodule(str(value.target))
        if type(layer) in _RETURN_THEIR_INPUT:
            return _is_spare(model, value.args[0])
        return type(layer) in _FORGETFUL
    return value.target in _SUMS or value.target is sum_into


def _makes_gradient(model: GraphModule, value: Node) -> bool:
    """Whether the gradient of this value is a tensor of its own, which nobody else holds."""
    if len(value.users) != 1:
        return False
    (reader,) = value.users
    if reader.op != "call_module" or list(reader.args) != [value]:
        return False
    layer = model.get_submodule(str(reader.target))
    if type(layer) in _RETURN_THEIR_INPUT:
        return _makes_gradient(model, reader)
    return type(layer) in _FORGETFUL


def _is_activation(model: GraphModule, value: Any) -> bool:
    if not isinstance(value, Node) or value.op != "call_module" or len(value.users) != 1:
        return False
    return type(model.get_submodule(str(value.target))) in _ACTIVATIONS
