"""Activations that keep one bit per element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.bits import is_dense, packed_where, parts, unpacked
from asi_core.layers.lean.layer import LeanLayer, needs_gradient


class LeanReLU(LeanLayer, nn.ReLU):
    """A `nn.ReLU` that keeps one bit per element."""

    plain = nn.ReLU

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return super().forward(input)
        return cast(Tensor, _OneBitReLU.apply(input, self))


class LeanReLU6(LeanLayer, nn.ReLU6):
    """A `nn.ReLU6` that keeps one bit per element.

    At NaN, PyTorch's gradient is 0 where its kernel is vectorised, and passes elsewhere. It is the
    same here if the gradient has the memory layout of the input, as it has in a network.
    """

    plain = nn.ReLU6

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return super().forward(input)
        return cast(Tensor, _OneBitReLU6.apply(input, self))


class LeanLeakyReLU(LeanLayer, nn.LeakyReLU):
    """A `nn.LeakyReLU` that keeps one bit per element."""

    plain = nn.LeakyReLU

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self) or self.why_input_is_needed() is not None:
            return super().forward(input)
        return cast(Tensor, _OneBitLeakyReLU.apply(input, self))

    def why_input_is_needed(self) -> str | None:
        # PyTorch then refuses the gradient, of its result.
        return "its slope is negative" if self.negative_slope < 0 else None


class LeanHardtanh(LeanLayer, nn.Hardtanh):
    """A `nn.Hardtanh` between two finite numbers that keeps one bit per element."""

    plain = nn.Hardtanh

    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self) or self.why_input_is_needed() is not None:
            return super().forward(input)
        return cast(Tensor, _OneBitHardtanh.apply(input, self))

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
        return cast(Tensor, _OneBitHardsigmoid.apply(input, self))


class _OneBitReLU(torch.autograd.Function):
    """The gradient passes where the result is not zero, including NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        if layer.inplace:
            ctx.mark_dirty(x)
        output = F.relu(x, inplace=layer.inplace)
        _keep_bits(ctx, layer, output, lambda part: part.to(torch.bool))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.threshold_backward, ctx, grad_output, 0.0), None


class _OneBitReLU6(torch.autograd.Function):
    """The gradient passes where the input is strictly between 0 and 6."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        # Taken from the kernel itself: whether NaN passes depends on its place in the tensor.
        kernel = torch.ops.aten.hardtanh_backward
        _keep_bits(ctx, layer, x, lambda part: kernel(part, part, 0.0, 6.0).to(torch.bool))
        if layer.inplace:
            ctx.mark_dirty(x)
        return F.relu6(x, inplace=layer.inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.hardtanh_backward, ctx, grad_output, 0.0, math.inf), None


class _OneBitLeakyReLU(torch.autograd.Function):
    """The gradient passes where the input is positive, and times the slope elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.slope = layer.negative_slope
        _keep_bits(ctx, layer, x, lambda part: part > 0)
        if layer.inplace:
            ctx.mark_dirty(x)
        return F.leaky_relu(x, ctx.slope, inplace=layer.inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        kernel = torch.ops.aten.leaky_relu_backward
        return _passing(kernel, ctx, grad_output, ctx.slope, False), None


class _OneBitHardtanh(torch.autograd.Function):
    """The gradient passes where the input is strictly between the bounds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        low, high = layer.min_val, layer.max_val
        kernel = torch.ops.aten.hardtanh_backward
        _keep_bits(
            ctx, layer, x, lambda part: kernel(torch.ones_like(part), part, low, high).bool()
        )
        if layer.inplace:
            ctx.mark_dirty(x)
        return F.hardtanh(x, low, high, inplace=layer.inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        gradient = _passing(torch.ops.aten.hardtanh_backward, ctx, grad_output, 0.0, math.inf)
        return gradient, None


class _OneBitHardsigmoid(torch.autograd.Function):
    """A sixth of the gradient passes where the input is strictly between -3 and 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        kernel = torch.ops.aten.hardsigmoid_backward
        _keep_bits(ctx, layer, x, lambda part: kernel(torch.ones_like(part), part).bool())
        if layer.inplace:
            ctx.mark_dirty(x)
        return F.hardsigmoid(x, inplace=layer.inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        kernel = torch.ops.aten.hardsigmoid_backward

        def within(gradient: Tensor, bits: Tensor, into: Tensor) -> None:
            # 0 is within the slope, and 4 is not.
            kernel.grad_input(gradient, (bits == 0).to(into.dtype).mul_(4), grad_input=into)

        return _by_parts(ctx, grad_output, within), None


def _passing(kernel: Any, ctx: Any, grad_output: Tensor, *bounds: float) -> Tensor:
    """What a backward kernel passes of a gradient, with the kept bits in place of the input."""

    def passed(gradient: Tensor, bits: Tensor, into: Tensor) -> None:
        kernel.grad_input(gradient, bits.to(into.dtype), *bounds, grad_input=into)

    return _by_parts(ctx, grad_output, passed)


def _keep_bits(
    ctx: Any, layer: LeanLayer, values: Tensor, condition: Callable[[Tensor], Tensor]
) -> None:
    """Save where a condition holds, in one bit per element."""
    dense = values if is_dense(values) else values.clone()
    ctx.shape, ctx.strides = dense.shape, dense.stride()
    ctx.overwrites_gradient = layer.overwrites_gradient
    ctx.save_for_backward(packed_where(dense, condition))


def _by_parts(
    ctx: Any, grad_output: Tensor, compute: Callable[[Tensor, Tensor, Tensor], None]
) -> Tensor:
    """The input's gradient, computed part by part from the gradient, the kept bits and where to.

    It has the memory layout of the input. A gradient in another layout, as from a pooling, would
    make all layers before it mix two layouts.
    """
    (packed,) = ctx.saved_tensors
    is_alike = grad_output.stride() == ctx.strides
    overwrites = is_alike and ctx.overwrites_gradient
    result = grad_output if overwrites else grad_output.new_empty_strided(ctx.shape, ctx.strides)
    source = grad_output if is_alike else result.copy_(grad_output)
    for bits, gradient, into in zip(unpacked(packed), parts(source), parts(result), strict=True):
        compute(gradient, bits[: len(into)], into)
    return result
