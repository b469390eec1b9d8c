"""The memory layout of a tail's tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Layout = torch.memory_format


def in_layout_(tail: nn.Module, wanted: Layout | None = None) -> Layout:
    """Convert the weights of `tail`, in place, to the layout `wanted`, or to the fastest.

    Returns:
        the layout, which its inputs should have too (`laid_out`).
    """
    layout = preferred_layout(tail) if wanted is None else wanted
    for module in tail.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)
    return layout


def preferred_layout(tail: nn.Module) -> Layout:
    """Channels last if the tail has convolutions that mix channels."""
    convs = [module for module in tail.modules() if isinstance(module, nn.Conv2d)]
    return torch.channels_last if convs else torch.contiguous_format


def layout_name(layout: Layout) -> str:
    """The layout's name in PyTorch."""
    return str(layout).removeprefix("torch.")


def named_layout(name: str) -> Layout:
    """The layout of a name as `RunSpec.layout` has it."""
    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[name]


def laid_out(value: Tensor, layout: Layout) -> Tensor:
    """`value` in a layout; only values with four modes are converted."""
    return value.contiguous(memory_format=layout) if value.dim() == 4 else value.contiguous()
