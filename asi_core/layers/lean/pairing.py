"""Pairing convolutions with the normalisations after them, to compute both together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn
from torch.fx import Graph, Node

from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d, FusedBatchNorm2d
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.lean.products import LeanConv2d
from asi_core.methods import Vanilla

_KNOWN = {nn.Conv2d, LeanConv2d, CompressedConv2d, nn.BatchNorm2d, LeanBatchNorm2d}


def pair_norms_(model: nn.Module, graph: Graph, *, fold: bool) -> list[str]:
    """Let trained convolutions compute the fixed normalisations after them, in place.

    The normalisation must be the only reader of the convolution's output, and both must be called
    once. A pair is made if the normalisation is trained, because the plain one would keep its
    input, or if the convolution is compressed and `fold` allows one pass instead of two.

    Args:
        graph: of the model's forward pass, in which layers are calls of modules.

    Returns:
        the names of the normalisations.
    """
    paired = []
    for conv_name, norm_name in list(_pairs(model, graph)):
        conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
        assert isinstance(norm, nn.BatchNorm2d)
        fused = FusedBatchNorm2d.from_plain(norm)
        if not (fused.is_trained or (fold and _approximates(conv))):
            continue
        if isinstance(conv, LeanConv2d):
            conv = conv.to_plain()
        if not isinstance(conv, CompressedConv2d):
            conv = CompressedConv2d.from_plain(conv, Vanilla(), seed=0)
        may_fold = fold and _approximates(conv)
        both = CompressedConvNorm2d.of(conv, fused, may_fold=may_fold)
        model.set_submodule(conv_name, both)
        model.set_submodule(norm_name, fused)
        paired.append(norm_name)
    return paired


def _pairs(model: nn.Module, graph: Graph) -> Iterator[tuple[str, str]]:
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        norm = _layer(model, node)
        if not isinstance(norm, nn.BatchNorm2d) or calls[node.target] != 1:
            continue
        before = node.args[0] if node.args else None
        if not (isinstance(before, Node) and calls[before.target] == 1 and len(before.users) == 1):
            continue
        conv = _layer(model, before)
        trained = isinstance(conv, nn.Conv2d) and conv.weight.requires_grad
        is_known = trained and {type(conv), type(norm)} <= _KNOWN
        if is_known and FusedBatchNorm2d.from_plain(norm).why_not_fixed() is None:
            yield str(before.target), str(node.target)


def _approximates(conv: nn.Module) -> bool:
    return isinstance(conv, CompressedConv2d) and conv.method.replaces_layers


def _layer(model: nn.Module, node: Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None
