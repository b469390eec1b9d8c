"""Masks stored in one bit per element.

A mask is made, packed and unpacked in parts, so that no temporary is as large as the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.counting import ceil_div

# Bytes of a part of a packed mask. A processor works best on parts that its cache holds; an
# accelerator takes longer to start an operator than to run it on so few.
_CPU_PART, _PART = 1 << 14, 1 << 19
# More parts save little memory, and each takes several operators.
_MOST_PARTS = 8


def packed_where(values: Tensor, condition: Callable[[Tensor], Tensor]) -> Tensor:
    """Pack where a condition holds into one bit per element, in the order of memory.

    Args:
        values: dense in memory, in whichever order of modes.
        condition: parts of `values`, flat, to bools of the same shape.

    Returns:
        ceil(N / 8) bytes; in each part, bit i of all bytes is its i-th eighth.
    """
    packed = torch.empty(ceil_div(values.numel(), 8), dtype=torch.uint8, device=values.device)
    for part, into in zip(parts(values), _packed_parts(packed), strict=True):
        _pack(condition(part), into)
    return packed


def unpacked(packed: Tensor) -> Iterator[Tensor]:
    """The mask part by part, as bytes that are zero or not; up to 7 zeros end the last one."""
    for part in _packed_parts(packed):
        yield (part & _bits(part)).view(-1)


def parts(values: Tensor) -> tuple[Tensor, ...]:
    """`values`, dense in memory, as flat views of the parts in which a mask is packed."""
    size = 8 * _part_bytes(ceil_div(values.numel(), 8), values.device)
    found: tuple[Tensor, ...] = values.as_strided((values.numel(),), (1,)).split(size)
    return found


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor's elements lie in memory without gaps, each once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in sizes) == tensor.numel()


def _packed_parts(packed: Tensor) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = packed.split(_part_bytes(len(packed), packed.device))
    return found


def _part_bytes(count: int, device: torch.device) -> int:
    """Into how large parts a packed mask of `count` bytes is divided."""
    least = _CPU_PART if device.type == "cpu" else _PART
    return max(least, ceil_div(count, _MOST_PARTS))


def _pack(mask: Tensor, into: Tensor) -> None:
    packed, missing = mask.view(torch.uint8), -len(mask) % 8
    if missing:
        packed = F.pad(packed, (0, missing))
    for shift in (4, 2):
        low, high = packed.view(2, -1)
        packed = torch.add(low, high, alpha=1 << shift)
    low, high = packed.view(2, -1)
    torch.add(low, high, alpha=2, out=into)


def _bits(like: Tensor) -> Tensor:
    """1, 2, 4, ... 128 as a column."""
    places = torch.arange(8, dtype=torch.uint8, device=like.device)
    return torch.ones_like(places).bitwise_left_shift(places).view(8, 1)
