"""A tensor in 256 evenly spaced values a channel (asymmetric, round to nearest)."""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_CODE = 255


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
