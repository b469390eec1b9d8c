"""Convolutions and linear layers without compression that keep less of their input."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asi_core.layers.compressed import in_autocast_type
from asi_core.layers.conv import conv_geometry, padded_input
from asi_core.layers.differentiating import once_differentiable, refuse_transforms
from asi_core.layers.lean.layer import LeanLayer
from asi_core.linalg.gradients import conv_weight_gradient, is_larger_than_input
from asi_core.records import ConvGeometry


class LeanConv2d(LeanLayer, nn.Conv2d):
    """A `nn.Conv2d` that keeps only its weight while that is frozen.

    PyTorch keeps its input too, although the input's gradient depends on its shape alone. While the
    weight is trained, the two gradients are computed one after the other: PyTorch holds the copies
    that it makes for both at once.
    """

    plain = nn.Conv2d

    def forward(self, input: Tensor) -> Tensor:
        wanted = input.requires_grad or self.weight.requires_grad
        is_own = torch.is_grad_enabled() and wanted and input.numel() > 0 and input.dim() == 4
        if not (is_own and self.why_input_is_needed() is None):
            return super().forward(input)
        refuse_transforms(self)
        operands = in_autocast_type(padded_input(self, input), self.weight, self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return cast(Tensor, _SplitConv.apply(*operands, conv_geometry(self)))

    def keeps_less(self) -> bool:
        return not self.weight.requires_grad and conv_geometry(self).symmetric_padding

    def why_input_is_needed(self) -> str | None:
        if conv_geometry(self).symmetric_padding:
            return None
        return None if self.weight.requires_grad else "its padding is not the same on both sides"


class _SplitConv(torch.autograd.Function):
    """A convolution whose gradients are computed one by one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvGeometry
    ) -> Tensor:
        top, _, left, _ = geometry.padding
        ctx.walk = geometry.stride, (top, left), geometry.dilation, False, (0, 0), geometry.groups
        ctx.shape, ctx.strides, ctx.dtype, ctx.geometry = x.shape, x.stride(), x.dtype, geometry
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        return cast(Tensor, torch.ops.aten.convolution(x, weight, bias, *ctx.walk))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad

        def gradient(which: int, of_bias: bool = False) -> tuple[Tensor | None, ...]:
            wanted = [which == 0, which == 1, of_bias]
            sizes = [len(weight)] if of_bias else None
            met = like_input() if x is None else x
            found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
                grad_output, met, weight, sizes, *ctx.walk, wanted
            )
            return found

        def like_input() -> Tensor:
            # Its shape and memory order are read, and none of its numbers.
            return torch.empty_strided(
                ctx.shape, ctx.strides, dtype=ctx.dtype, device=weight.device
            )

        with torch.autocast(weight.device.type, enabled=False):
            of_weight = of_bias = of_input = None
            if needs_input:
                of_input = gradient(0)[0]
            if needs_weight and is_larger_than_input(tuple(weight.shape), x, ctx.geometry):
                of_weight = conv_weight_gradient(x, grad_output, tuple(weight.shape), ctx.geometry)
                of_bias = grad_output.sum((0, 2, 3)) if needs_bias else None
            elif needs_weight or needs_bias:
                _, of_weight, of_bias = gradient(1 if needs_weight else -1, needs_bias)
        return of_input, of_weight, of_bias, None


class LeanLinear(LeanLayer, nn.Linear):
    """A `nn.Linear` that keeps its input alone, where that is a small part of a tensor.

    PyTorch keeps the whole tensor: all tokens of a transformer, of which its classifier reads one.
    A frozen layer keeps no input in PyTorch either.
    """

    plain = nn.Linear

    def forward(self, input: Tensor) -> Tensor:
        kept = torch.is_grad_enabled() and self.weight.requires_grad
        if kept and not torch.compiler.is_compiling() and _is_small_part(input):
            return super().forward(input.clone(memory_format=torch.contiguous_format))
        return super().forward(input)

    def keeps_less(self) -> bool:
        # Shows only when it is called.
        return False


def _is_small_part(x: Tensor) -> bool:
    return 0 < 2 * x.numel() * x.element_size() <= x.untyped_storage().nbytes()
