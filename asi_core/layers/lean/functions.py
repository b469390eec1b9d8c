"""Functions that a model calls: which can be replaced by layers, and why others keep bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx import GraphModule, Node

from asi_core.layers.lean.pooling import Mean, averages_all
from asi_core.layers.lean.reasons import REASONS
from asi_core.layers.lean.tracing import LayerTracer

_FUNCTIONS = {
    kind.lower(): file for file in REASONS for kind in getattr(nn.modules, file).__all__
} | {"batchnorm": "batchnorm", "clamp": "activation"}
# Functions and methods that a layer can replace.
_ACTIVATIONS: dict[Any, type[nn.ReLU | nn.ReLU6]] = {
    F.relu: nn.ReLU,
    F.relu6: nn.ReLU6,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
}
_IN_PLACE = (torch.relu_, "relu_")


def functions_to_layers_(model: GraphModule) -> None:
    """Replace functions of the graph that have a lean form by layers."""
    for node in list(model.graph.nodes):
        stand_in = _layer_for(node)
        if stand_in is None:
            continue
        name = node.name
        while hasattr(model, name):
            name += "_"
        model.add_submodule(name, stand_in.train(model.training))
        with model.graph.inserting_before(node):
            layer = model.graph.call_module(name, (_argument(node, 0, "input", None),))
        node.replace_all_uses_with(layer)
        model.graph.erase_node(node)
    model.recompile()


def traced_graph(model: nn.Module) -> fx.Graph | None:
    """The graph of a model's forward pass; None if torch.fx cannot trace it."""
    try:
        return LayerTracer().trace(model)
    except Exception:
        # Whatever the model's own code raises when it is given a stand-in for a tensor.
        return None


def called_functions(model: nn.Module, graph: fx.Graph | None) -> dict[str, str | None]:
    """Functions that keep something, by the names of their nodes.

    Args:
        graph: of a model that is no `GraphModule`.
    """
    if isinstance(model, GraphModule):
        parts = [(name, m.graph) for name, m in model.named_modules() if isinstance(m, GraphModule)]
    elif graph is None:
        why = "torch.fx cannot trace it: the functions that it calls keep what they keep"
        return {"the model": why}
    else:
        parts = [("", graph)]
    return {
        f"{part}.{node.name}" if part else node.name: why
        for part, graph in parts
        for node, why in _functions_of(graph)
    }


def _functions_of(graph: fx.Graph) -> Iterator[tuple[Node, str]]:
    for node in graph.nodes:
        name = _function_name(node)
        file = _FUNCTIONS.get(name.replace("_", ""))
        if _is_call(node) and node.target in _ACTIVATIONS:
            yield node, f"{name}: a function has a lean form only in a traced model"
        elif file == "dropout" and not _argument(node, 2, "training", True):
            continue
        elif file and not _averages_all(node):
            yield node, f"{name}: {REASONS[file]}"


def _layer_for(node: Node) -> nn.Module | None:
    """A plain layer equivalent to a called function, if it has a lean form."""
    if not _is_call(node):
        return None
    if node.target in _ACTIVATIONS:
        inplace = node.target in _IN_PLACE or _argument(node, 1, "inplace", False)
        return _ACTIVATIONS[node.target](inplace)
    if node.target is F.adaptive_avg_pool2d and _averages_all(node):
        return nn.AdaptiveAvgPool2d(1)
    return _mean_for(node)


def _mean_for(node: Node) -> Mean | None:
    """A layer for a mean over given modes without other options, such as another type."""
    if node.target not in ("mean", torch.mean) or node.kwargs.keys() - {"input", "dim", "keepdim"}:
        return None
    modes = _argument(node, 1, "dim", None)
    modes = (modes,) if isinstance(modes, int) else modes
    if not isinstance(modes, (tuple, list)) or not all(isinstance(mode, int) for mode in modes):
        return None
    keepdim = _argument(node, 2, "keepdim", False)
    return Mean(modes, keepdim=keepdim) if isinstance(keepdim, bool) and modes else None


def _is_call(node: Node) -> bool:
    return node.op in ("call_function", "call_method")


def _averages_all(node: Node) -> bool:
    is_pooling = _function_name(node).startswith("adaptive_avg_pool")
    return is_pooling and averages_all(_argument(node, 1, "output_size", None))


def _function_name(node: Node) -> str:
    """The name of the function that a node calls, without the underscore of an in-place variant;
    empty if it is not a function."""
    if not _is_call(node):
        return ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return str(name).strip("_").lower()


def _argument(node: Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
