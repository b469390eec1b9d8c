"""Masks stored in one bit per element.

A mask is made, packed and unpacked in parts, so that no temporary is as large as the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of a part, a multiple of 8. A processor works best on parts that its cache holds; an
# accelerator takes longer to start an operator than to run it on so few.
_CPU_PART, _PART = 1 << 17, 1 << 22


def packed_where(values: Tensor, condition: Callable[[Tensor], Tensor]) -> Tensor:
    """Pack where a condition holds into one bit per element, in the order of memory.

    Args:
        values: dense in memory, in whichever order of modes.
        condition: parts of `values`, flat, to bools of the same shape.

    Returns:
        ceil(N / 8) bytes; in each part, bit i of all bytes is its i-th eighth.
    """
    packed = torch.empty(-(-values.numel() // 8), dtype=torch.uint8, device=values.device)
    for part, into in zip(parts(values), _packed_parts(packed), strict=True):
        _pack(condition(part), into)
    return packed


def unpacked(packed: Tensor) -> Iterator[Tensor]:
    """The mask part by part, as bytes that are zero or not; up to 7 zeros end the last one."""
    for part in _packed_parts(packed):
        yield (part & _bits(part)).view(-1)


def parts(values: Tensor) -> tuple[Tensor, ...]:
    """`values`, dense in memory, as flat views of the parts in which a mask is packed."""
    return values.as_strided((values.numel(),), (1,)).split(_part_of(values))


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor's elements lie in memory without gaps, each once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in sizes) == tensor.numel()


def _packed_parts(packed: Tensor) -> tuple[Tensor, ...]:
    return packed.split(_part_of(packed) // 8)


def _part_of(tensor: Tensor) -> int:
    return _CPU_PART if tensor.device.type == "cpu" else _PART


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
