"""Tensors in 8 bits: evenly spaced values, rounded to the nearest.

Inputs of layers are spread anywhere, and have a least value a channel. Columns of bases and cores
are spread about zero: they need a step alone, which is packed with them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_CODE = 255
# Of values about zero, to either side.
_LARGEST_OFFSET = 127
# Rows of a packed matrix that hold its steps: one float32 a column.
STEP_BYTES = 4


def quantised(x: Tensor, channel_mode: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, step and least value of `x`, so that `least + step * codes` is next to it.

    Returns:
        codes of the shape of `x` (uint8), lying in memory as it does; step and least value with
        size 1 in all modes but `channel_mode`, in the type of `x`. An element is at most half a
        step from what it is restored to. A channel with an entry that is not finite has a step or
        least value that is not.
    """
    others = [mode for mode in range(x.dim()) if mode != channel_mode]
    least, most = x.amin(others, keepdim=True), x.amax(others, keepdim=True)
    # Divided first: the difference of two finite numbers may not be finite.
    step = most / _LARGEST_CODE - least / _LARGEST_CODE
    per_step = torch.where(step > 0, 1 / step, 0)
    codes = (x - least).mul_(per_step).round_().clamp_(0, _LARGEST_CODE)
    return codes.to(torch.uint8), step, least


def restored(codes: Tensor, step: Tensor, least: Tensor) -> Tensor:
    """The tensor that the codes stand for, in the type of `step`."""
    return torch.addcmul(least, codes.to(step.dtype), step)


def offsets(x: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    """Offsets from zero and their step for every index of a mode.

    Returns:
        offsets of the shape of `x` (int8), and steps (float32, one an index): an element is at most
        half a step from its product of both. An index with an entry that is not finite has a step
        that is not.
    """
    others = [m for m in range(x.dim()) if m != mode]
    step = x.abs().amax(others, keepdim=True) / _LARGEST_OFFSET
    per_step = torch.where(step > 0, 1 / step, 0)
    found = (x * per_step).round_().clamp_(-_LARGEST_OFFSET, _LARGEST_OFFSET)
    return found.to(torch.int8), step.flatten().float()


def from_offsets(codes: Tensor, steps: Tensor, mode: int, dtype: torch.dtype) -> Tensor:
    """The tensor that offsets stand for."""
    shape = [-1 if m == mode else 1 for m in range(codes.dim())]
    return codes.to(dtype) * steps.to(dtype).view(shape)


def packed(matrix: Tensor) -> Tensor:
    """A size x rank matrix in one tensor of int8, (size + 4) x rank: offsets, and below each column
    the four bytes of its step."""
    codes, steps = offsets(matrix, 1)
    return torch.cat([codes, steps.view(torch.int8).view(-1, STEP_BYTES).T])


def unpacked(codes: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix that was packed."""
    # A copy: as part of the codes, its bytes need not begin where a number may.
    steps = codes[-STEP_BYTES:].T.clone(memory_format=torch.contiguous_format)
    steps = steps.view(torch.float32).flatten()
    return from_offsets(codes[:-STEP_BYTES], steps, 1, dtype)
