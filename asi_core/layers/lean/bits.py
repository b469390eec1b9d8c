"""Masks stored in one bit per element."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def packed_bits(mask: Tensor) -> Tensor:
    """Pack a flat mask of n bools into ceil(n / 8) bytes: bit i of all bytes is its i-th eighth."""
    packed, missing = mask.view(torch.uint8), -len(mask) % 8
    if missing:
        packed = F.pad(packed, (0, missing))
    for shift in (4, 2, 1):
        low, high = packed.view(2, -1)
        packed = torch.add(low, high, alpha=1 << shift)
    return packed


def unpacked_bits(packed: Tensor) -> Tensor:
    """Unpack the mask into bytes that are zero or not; up to 7 zeros are added at its end."""
    return (packed & _bits(packed)).view(-1)


def _bits(like: Tensor) -> Tensor:
    """1, 2, 4, ... 128 as a column."""
    places = torch.arange(8, dtype=torch.uint8, device=like.device)
    return torch.ones_like(places).bitwise_left_shift(places).view(8, 1)
