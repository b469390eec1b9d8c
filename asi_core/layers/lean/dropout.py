"""Dropout that keeps one bit per element."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.bits import packed_where, parts, unpacked
from asi_core.layers.lean.layer import LeanLayer, needs_gradient


class LeanDropout(LeanLayer, nn.Dropout):
    """A `nn.Dropout` that keeps in training which elements it has left, one bit each.

    It draws the same numbers as the plain layer, on the CPU by the same operations and elsewhere by
    PyTorch's fused kernel.
    """

    plain = nn.Dropout

    def forward(self, input: Tensor) -> Tensor:
        draws = self.training and 0 < self.p < 1
        if not (draws and needs_gradient(input, self)):
            return super().forward(input)
        return cast(Tensor, _OneBitDropout.apply(input, self.p, self.inplace))


class _OneBitDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, inplace: bool) -> Tensor:
        ctx.p, ctx.shape = p, x.shape
        if x.device.type == "cpu":
            # An expression of its own, as PyTorch's: its rounding is that of the mask's type.
            noise = torch.empty_like(x).bernoulli_(1 - p).div_(1 - p)
            mask = noise
            output = x.mul_(noise) if inplace else x * noise
        else:
            output, mask = torch.native_dropout(x, p, True)
            output = x.copy_(output) if inplace else output
        if inplace:
            ctx.mark_dirty(x)
        ctx.strides = mask.stride()
        ctx.save_for_backward(packed_where(mask, lambda part: part != 0))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (packed,) = ctx.saved_tensors
        bits = torch.empty_strided(
            ctx.shape, ctx.strides, dtype=torch.bool, device=grad_output.device
        )
        for mask, into in zip(unpacked(packed), parts(bits), strict=True):
            into.copy_(mask[: len(into)])
        if grad_output.device.type == "cpu":
            return grad_output * bits.to(grad_output.dtype).div_(1 - ctx.p), None, None
        scale = 1 / (1 - ctx.p)
        return torch.ops.aten.native_dropout_backward(grad_output, bits, scale), None, None
