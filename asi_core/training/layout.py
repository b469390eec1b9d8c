"""In which order a tail's numbers lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Layout = torch.memory_format


def in_layout_(tail: nn.Module, wanted: Layout | None = None) -> Layout:
    """Lay out the weights of `tail`, in place, as `wanted`, or as is quickest for it.

    Returns:
        the layout, in which its inputs should come too (`laid_out`).
    """
    layout = preferred_layout(tail) if wanted is None else wanted
    for module in tail.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)
    return layout


def preferred_layout(tail: nn.Module) -> Layout:
    """Channels last where the tail has convolutions that mix channels."""
    convs = [module for module in tail.modules() if isinstance(module, nn.Conv2d)]
    return torch.channels_last if convs else torch.contiguous_format


def layout_name(layout: Layout) -> str:
    """As PyTorch calls it."""
    return str(layout).removeprefix("torch.")


def laid_out(value: Tensor, layout: Layout) -> Tensor:
    """`value` in a layout; what has not four modes has only one."""
    return value.contiguous(memory_format=layout) if value.dim() == 4 else value.contiguous()
