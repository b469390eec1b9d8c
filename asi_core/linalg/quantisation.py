"""Tensors in 8 bits or fewer: evenly spaced values, rounded to the nearest.

Inputs of layers have any range, and get a minimum per channel. Columns of bases and cores are
centred at zero: they need only a step, which is packed with them. Tensors without channels get a
minimum per group of neighbours, and may be kept in 4 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_CODE = 255
# Largest offset to either side of zero.
_LARGEST_OFFSET = 127
# Neighbouring elements that share a minimum and a step.
GROUP = 128
# Rows of a packed matrix that hold its steps: one float32 per column.
STEP_BYTES = 4


def quantised(x: Tensor, channel_mode: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, step and minimum of `x`, so that `least + step * codes` is closest to it.

    Returns:
        codes of the shape and memory layout of `x` (uint8); step and minimum with size 1 in all
        modes except `channel_mode`, in the type of `x`. The error of an element is at most half a
        step. A channel with an entry that is not finite has a step or minimum that is not finite.
    """
    others = [mode for mode in range(x.dim()) if mode != channel_mode]
    least, most = x.amin(others, keepdim=True), x.amax(others, keepdim=True)
    # Divided first: the difference of two finite numbers may overflow.
    step = most / _LARGEST_CODE - least / _LARGEST_CODE
    per_step = torch.where(step > 0, 1 / step, 0)
    codes = (x - least).mul_(per_step).round_().clamp_(0, _LARGEST_CODE)
    return codes.to(torch.uint8), step, least


def restored(codes: Tensor, step: Tensor, least: Tensor) -> Tensor:
    """The tensor that the codes represent, in the type of `step`."""
    # One copy in full precision, not two. The product alone may overflow.
    found = codes.to(step.dtype)
    return torch.addcmul(least, found, step, out=found)


def offsets(x: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    """Offsets from zero, and their step for every index of a mode.

    Returns:
        offsets of the shape of `x` (int8), and steps (float32, one per index): the error of an
        element is at most half a step. An index with an entry that is not finite has a step that is
        not finite.
    """
    others = [m for m in range(x.dim()) if m != mode]
    step = x.abs().amax(others, keepdim=True) / _LARGEST_OFFSET
    per_step = torch.where(step > 0, 1 / step, 0)
    found = (x * per_step).round_().clamp_(-_LARGEST_OFFSET, _LARGEST_OFFSET)
    return found.to(torch.int8), step.flatten().float()


def from_offsets(codes: Tensor, steps: Tensor, mode: int, dtype: torch.dtype) -> Tensor:
    """The tensor that the offsets represent."""
    shape = [-1 if m == mode else 1 for m in range(codes.dim())]
    return codes.to(dtype) * steps.to(dtype).view(shape)


def packed(matrix: Tensor) -> Tensor:
    """Pack a size x rank matrix into one int8 tensor, (size + 4) x rank: offsets, and below each
    column the four bytes of its step."""
    codes, steps = offsets(matrix, 1)
    return torch.cat([codes, steps.view(torch.int8).view(-1, STEP_BYTES).T])


def unpacked(codes: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix that was packed."""
    # A copy: within the codes, the bytes of a number may not be aligned.
    steps = codes[-STEP_BYTES:].T.clone(memory_format=torch.contiguous_format)
    steps = steps.view(torch.float32).flatten()
    return from_offsets(codes[:-STEP_BYTES], steps, 1, dtype)


def in_groups(row: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes of a row of n numbers, and the step and minimum of each group of neighbours.

    Returns:
        codes (uint8, one per number, or half as many in 4 bits; up to a group's length more), and
        scales, groups x 2, in at least single precision. The error of an element is at most half a
        step, and a step is the range of the group over 2^bits - 1. A group with an entry that is
        not finite has a scale that is not finite.
    """
    largest = 2**bits - 1
    wide = row if row.dtype == torch.float64 else row.float()
    if missing := -len(row) % GROUP:
        # Repeats the last number, which leaves the range of its group.
        wide = torch.cat([wide, wide[-1:].expand(missing)])
    groups = wide.view(-1, GROUP)
    least, most = torch.aminmax(groups, dim=1, keepdim=True)
    step = most / largest - least / largest
    per_step = torch.where(step > 0, 1 / step, 0)
    found = (groups - least).mul_(per_step).round_().clamp_(0, largest).to(torch.uint8)
    return _halves_packed(found) if bits == 4 else found.view(-1), torch.cat([step, least], 1)


def from_groups(codes: Tensor, scales: Tensor, count: int, bits: int) -> Tensor:
    """The row of `count` numbers that the codes represent, in the type of the scales."""
    found = _halves_unpacked(codes) if bits == 4 else codes
    step, least = scales.split(1, dim=1)
    row = found.view(-1, GROUP).to(scales.dtype).mul_(step).add_(least)
    numbers: Tensor = row.view(-1)[:count]
    return numbers


def _halves_packed(codes: Tensor) -> Tensor:
    """Two codes below 16 in each byte: the first half of all codes lies in the low bits."""
    # A group is even.
    low, high = codes.view(2, -1)
    pairs: Tensor = low | (high << 4)
    return pairs


def _halves_unpacked(codes: Tensor) -> Tensor:
    return torch.cat([codes & 15, codes >> 4])
