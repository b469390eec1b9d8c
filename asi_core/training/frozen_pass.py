"""The forward pass of a network's frozen part as a device runs it: image by image, in few bytes."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_eval

from asi_core.costs.timeline.recording import Recorder
from asi_core.layers.lean import LeanBatchNorm2d, LeanForms, lean_
from asi_core.training.layout import Layout, in_layout_, laid_out


class FrozenPass(nn.Module):
    """A frozen part with its normalisations folded into the convolutions before them, and with
    activations and sums that overwrite what nobody reads any more.

    Results equal those of the part to rounding. Of the part itself nothing is changed.

    Args:
        part: images to a tuple of values, in evaluation mode (`training.prefix.SplitModel`).
        layout: of all tensors.
    """

    def __init__(self, part: GraphModule, layout: Layout) -> None:
        super().__init__()
        self.part, self.layout = deepcopy(part), layout
        _fold_norms_(self.part)
        lean_(self.part, fold=True)
        in_layout_(self.part, layout)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Values of `images` (B x 3 x H x W), computed one after the other: each B x ..."""
        kept: tuple[Tensor, ...] = ()
        for number in range(len(images)):
            # A copy of its own, as an image comes from a camera or a file, in the layout at once.
            image = images[number : number + 1].clone(memory_format=self.layout)
            values = self.part(image)
            del image
            kept = kept or tuple(self._room_for(value, len(images)) for value in values)
            for rows, value in zip(kept, values, strict=True):
                rows[number] = value[0]
            del values
        return kept

    def _room_for(self, value: Tensor, count: int) -> Tensor:
        return laid_out(value.new_empty(count, *value.shape[1:]), self.layout)


def frozen_values(frozen: FrozenPass, images: Tensor, recorder: Recorder) -> tuple[Tensor, ...]:
    """Values of a micro-batch of images, while a recorder knows what runs."""
    with recorder.frozen():
        found: tuple[Tensor, ...] = frozen(images)
    return found


def _fold_norms_(part: GraphModule) -> None:
    """Fold frozen batch normalisations into the convolutions that they follow."""
    calls = Counter(node.target for node in part.graph.nodes if node.op == "call_module")
    for node in part.graph.nodes:
        before = node.args[0] if node.args else None
        norm, conv = _layer(part, node), _layer(part, before)
        if not (type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d)):
            continue
        assert isinstance(before, Node)
        is_alone = calls[before.target] == calls[node.target] == len(before.users) == 1
        if is_alone and _is_fixed(norm):
            part.set_submodule(str(before.target), _folded(conv, norm))
            # timm's normalisations call an activation as well.
            part.set_submodule(str(node.target), getattr(norm, "act", None) or nn.Identity())


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that computes both."""
    if not conv.weight.is_meta:
        return fuse_conv_bn_eval(conv, norm)
    # Without numbers there is nothing to compute: PyTorch would take tens of milliseconds for each.
    folded = deepcopy(conv)
    folded.bias = nn.Parameter(conv.weight.new_empty(conv.out_channels), requires_grad=False)
    return folded


def _is_fixed(norm: nn.BatchNorm2d) -> bool:
    """Whether it is of a known type, and normalises by running statistics."""
    form = LeanForms().of(type(norm))
    is_known = form is not None and issubclass(form, LeanBatchNorm2d)
    return is_known and not norm.training and norm.running_var is not None


def _layer(part: GraphModule, node: Any) -> nn.Module | None:
    is_call = isinstance(node, Node) and node.op == "call_module"
    return part.get_submodule(str(node.target)) if is_call else None
