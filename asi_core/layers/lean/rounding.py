"""Tensors of any memory layout in few bits."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from asi_core import linalg


def rounded(ctx: Any, x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """What an autograd function saves of `x`; its place in memory is noted in `ctx`."""
    dense = x if _is_dense(x) else x.contiguous()
    ctx.bits, ctx.shape, ctx.strides, ctx.dtype = bits, dense.shape, dense.stride(), dense.dtype
    # In the order of memory.
    return linalg.quantisation.in_groups(dense.as_strided((dense.numel(),), (1,)), bits)


def restored(ctx: Any, codes: Tensor, scales: Tensor) -> Tensor:
    """The tensor that `rounded` noted, as it lay in memory: each element within half a step."""
    row = linalg.quantisation.from_groups(codes, scales, ctx.shape.numel(), ctx.bits)
    return row.to(ctx.dtype).as_strided(ctx.shape, ctx.strides)


def _is_dense(x: Tensor) -> bool:
    """Whether the elements lie in memory without gaps, in any order of the modes."""
    step = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1 and stride != step:
            return False
        step *= size
    return True
