"""Activations that keep one bit per element."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.bits import packed_bits, unpacked_bits
from asi_core.layers.lean.layer import LeanLayer, needs_gradient


class LeanReLU(LeanLayer, nn.ReLU):
    """A `nn.ReLU` that keeps one bit per element."""

    plain = nn.ReLU

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return super().forward(input)
        return cast(Tensor, _OneBitReLU.apply(input, self.inplace))


class LeanReLU6(LeanLayer, nn.ReLU6):
    """A `nn.ReLU6` that keeps one bit per element.

    At NaN, PyTorch's gradient is 0 where its kernel is vectorised, and passes elsewhere. It is the
    same here if the gradient has the memory layout of the input, as it has in a network.
    """

    plain = nn.ReLU6

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return super().forward(input)
        return cast(Tensor, _OneBitReLU6.apply(input, self.inplace))


class LeanLeakyReLU(LeanLayer, nn.LeakyReLU):
    """A `nn.LeakyReLU` that keeps one bit per element."""

    plain = nn.LeakyReLU

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self) or self.why_input_is_needed() is not None:
            return super().forward(input)
        return cast(Tensor, _OneBitLeakyReLU.apply(input, self.negative_slope, self.inplace))

    def why_input_is_needed(self) -> str | None:
        # PyTorch then refuses the gradient, of its result.
        return "its slope is negative" if self.negative_slope < 0 else None


class LeanHardtanh(LeanLayer, nn.Hardtanh):
    """A `nn.Hardtanh` between two finite numbers that keeps one bit per element."""

    plain = nn.Hardtanh

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self) or self.why_input_is_needed() is not None:
            return super().forward(input)
        return cast(Tensor, _OneBitHardtanh.apply(input, self.min_val, self.max_val, self.inplace))

    def why_input_is_needed(self) -> str | None:
        if math.isfinite(self.min_val) and math.isfinite(self.max_val):
            return None
        return "one of its bounds is infinite"


class LeanHardsigmoid(LeanLayer, nn.Hardsigmoid):
    """A `nn.Hardsigmoid` that keeps one bit per element."""

    plain = nn.Hardsigmoid

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return super().forward(input)
        return cast(Tensor, _OneBitHardsigmoid.apply(input, self.inplace))


class _OneBitReLU(torch.autograd.Function):
    """The gradient passes where the result is not zero, including NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        output = F.relu(x, inplace=inplace)
        _keep_bits(ctx, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.threshold_backward, ctx, grad_output, 0.0), None


class _OneBitReLU6(torch.autograd.Function):
    """The gradient passes where the input is strictly between 0 and 6."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        # Taken from the kernel itself: whether NaN passes depends on its place in the tensor.
        _keep_bits(ctx, torch.ops.aten.hardtanh_backward(x, x, 0.0, 6.0))
        if inplace:
            ctx.mark_dirty(x)
        return F.relu6(x, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.hardtanh_backward, ctx, grad_output, 0.0, math.inf), None


class _OneBitLeakyReLU(torch.autograd.Function):
    """The gradient passes where the input is positive, and times the slope elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, inplace: bool) -> Tensor:
        ctx.slope = slope
        _keep_bits(ctx, x > 0)
        if inplace:
            ctx.mark_dirty(x)
        return F.leaky_relu(x, slope, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        kernel = torch.ops.aten.leaky_relu_backward
        return _passing(kernel, ctx, grad_output, ctx.slope, False), None, None


class _OneBitHardtanh(torch.autograd.Function):
    """The gradient passes where the input is strictly between the bounds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, inplace: bool) -> Tensor:
        ctx.bounds = low, high
        kernel = torch.ops.aten.hardtanh_backward
        _keep_bits(ctx, kernel(torch.ones_like(x), x, low, high))
        if inplace:
            ctx.mark_dirty(x)
        return F.hardtanh(x, low, high, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        gradient = _passing(torch.ops.aten.hardtanh_backward, ctx, grad_output, 0.0, math.inf)
        return gradient, None, None, None


class _OneBitHardsigmoid(torch.autograd.Function):
    """A sixth of the gradient passes where the input is strictly between -3 and 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        _keep_bits(ctx, torch.ops.aten.hardsigmoid_backward(torch.ones_like(x), x))
        if inplace:
            ctx.mark_dirty(x)
        return F.hardsigmoid(x, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        bits = _kept_bits(ctx, grad_output.dtype)
        # 0 is within the slope, and 4 is not.
        bits.copy_((bits == 0).to(bits.dtype).mul_(4))
        kernel = torch.ops.aten.hardsigmoid_backward
        return kernel.grad_input(grad_output, bits, grad_input=bits), None


def _passing(kernel: Any, ctx: Any, grad_output: Tensor, *bounds: float) -> Any:
    """What a backward kernel passes of a gradient, with the kept bits in place of the input.

    The result overwrites the unpacked bits and so has the memory layout of the input. A gradient in
    another layout, as from a pooling, would make all layers before it mix two layouts.
    """
    bits = _kept_bits(ctx, grad_output.dtype)
    return kernel.grad_input(grad_output, bits, *bounds, grad_input=bits)


def _keep_bits(ctx: Any, values: Tensor) -> None:
    """Save which of `values` are not zero, one bit each."""
    # Packed in the memory order of `values`, without gaps; NaN counts as true.
    mask = values.to(torch.bool)
    ctx.shape, ctx.strides = mask.shape, mask.stride()
    ctx.save_for_backward(packed_bits(mask.as_strided((mask.numel(),), (1,))))


def _kept_bits(ctx: Any, dtype: torch.dtype) -> Tensor:
    """What `_keep_bits` saved, as positive numbers and zeros in the shape of the values."""
    (packed,) = ctx.saved_tensors
    return unpacked_bits(packed).to(dtype).as_strided(ctx.shape, ctx.strides)
