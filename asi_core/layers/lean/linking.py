"""Finding normalisations for which the convolution before them can do something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn
from torch.fx import GraphModule, Node

from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.folding import FoldLink, is_frozen
from asi_core.layers.lean.normalisation import LeanBatchNorm2d
from asi_core.layers.scales import ScaleLink, is_fixed
from asi_core.methods import Vanilla


def link_norms_(model: GraphModule, *, fold: bool) -> list[str]:
    """Link trained convolutions and the fixed normalisations after them, in place.

    Nothing else may read such a convolution's output, and both are called once. If the
    normalisation is trained, the gradient of its scale comes from the convolution, which keeps its
    whole input if it is plain; if it is frozen, a compressed convolution may do its work where
    `fold` allows that.

    Returns:
        the names of the normalisations, which are lean now.
    """
    linked = []
    for conv_name, norm_name in _pairs(model):
        conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
        assert isinstance(norm, nn.BatchNorm2d)
        lean = LeanBatchNorm2d.from_plain(norm)
        if norm.affine and norm.weight.requires_grad:
            if type(conv) is nn.Conv2d:
                conv = CompressedConv2d.from_plain(conv, Vanilla(), seed=0)
                model.set_submodule(conv_name, conv)
            assert isinstance(conv, CompressedLayer)
            conv.link = lean.link = ScaleLink(lean)
        elif fold and is_frozen(norm) and _approximates(conv):
            assert isinstance(conv, CompressedLayer)
            conv.fold = lean.fold = FoldLink(lean)
        else:
            continue
        model.set_submodule(norm_name, lean)
        linked.append(norm_name)
    return linked


def _pairs(model: GraphModule) -> Iterator[tuple[str, str]]:
    calls = Counter(node.target for node in model.graph.nodes if node.op == "call_module")
    for node in model.graph.nodes:
        if not (_calls(model, node, nn.BatchNorm2d) and calls[node.target] == 1):
            continue
        before = node.args[0] if node.args else None
        if not (isinstance(before, Node) and calls[before.target] == 1 and len(before.users) == 1):
            continue
        conv, norm = _layer(model, before), model.get_submodule(str(node.target))
        assert isinstance(norm, nn.BatchNorm2d)
        trained = isinstance(conv, nn.Conv2d) and conv.weight.requires_grad
        if trained and type(conv) in (nn.Conv2d, CompressedConv2d) and is_fixed(norm):
            yield str(before.target), str(node.target)


def _approximates(conv: nn.Module) -> bool:
    return isinstance(conv, CompressedLayer) and conv.method.replaces_layers


def _calls(model: GraphModule, node: Node, kind: type[nn.Module]) -> bool:
    return type(_layer(model, node)) is kind


def _layer(model: GraphModule, node: Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None
