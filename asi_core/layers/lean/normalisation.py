"""Normalisation that keeps nothing if its gradient does not need its input."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.layer import LeanLayer, needs_gradient
from asi_core.layers.lean.subtypes import LeanSubtype

_TRAINED = "it trains its affine map, whose gradient needs its input"


class LeanBatchNorm2d(LeanLayer, nn.BatchNorm2d):
    """A `nn.BatchNorm2d` that keeps nothing while its statistics are fixed and its affine map
    frozen.

    In training mode, and while its affine map is trained, it behaves as the plain layer, which
    keeps its input. An exception is a normalisation right after a trained convolution
    (`lean.conv_norm`).
    """

    plain = nn.BatchNorm2d

    def forward(self, input: Tensor) -> Tensor:
        if self.is_plain(input):
            return super().forward(input)
        self._check_input_dim(input)
        return cast(Tensor, _FixedNormalisation.apply(input, self))

    def why_input_is_needed(self) -> str | None:
        return self.why_not_fixed() or (_TRAINED if self.is_trained else None)

    def is_plain(self, x: Tensor) -> bool:
        """Whether it behaves as the plain layer for `x`."""
        is_own = not self.is_trained and self.why_not_fixed() is None
        return not (needs_gradient(x, self) and is_own)

    @property
    def is_trained(self) -> bool:
        """Whether its scale or its shift is trained."""
        return any(parameter.requires_grad for parameter in self.parameters(recurse=False))

    def why_not_fixed(self) -> str | None:
        """Why it does not normalise by running statistics; None if it does."""
        if self.training:
            return "it is in training mode: its gradient needs its input"
        if self.running_mean is None or self.running_var is None:
            return "it has no running statistics: its gradient needs its input"
        return None


class LeanNormAct2d(LeanSubtype, LeanBatchNorm2d):
    """A batch normalisation of timm that also calls an activation (`BatchNormAct2d`).

    It keeps what `LeanBatchNorm2d` keeps. Its activation is a layer of its own, with a lean form of
    its own.
    """

    act: nn.Module
    drop: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        if self.is_plain(input):
            return self.plain.forward(self, input)
        output = _FixedNormalisation.apply(input, self)
        found: Tensor = self.act(self.drop(output))
        return found


class _FixedNormalisation(torch.autograd.Function):
    """Normalisation by fixed numbers: only these are needed for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LeanBatchNorm2d) -> Tensor:
        mean, variance, weight = layer.running_mean, layer.running_var, layer.weight
        ctx.save_for_backward(weight, mean, variance)
        ctx.eps, ctx.strides = layer.eps, x.stride()
        ctx.overwrites_gradient = layer.overwrites_gradient
        return F.batch_norm(x, mean, variance, weight, layer.bias, eps=layer.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, variance = ctx.saved_tensors
        if _is_two_products(grad_output, variance):
            overwrites = ctx.overwrites_gradient and grad_output.stride() == ctx.strides
            result = grad_output if overwrites else _like_input(grad_output, ctx)
            return _two_products(grad_output, weight, variance, ctx.eps, result), None
        gradient = _like_input(grad_output, ctx)
        # The kernel needs the input for its layout only, which decides the gradient's memory order
        # and, in half precision, its rounding.
        like_input = grad_output if grad_output.stride() == ctx.strides else gradient
        gradient, _, _ = torch.ops.aten.native_batch_norm_backward(
            grad_output,
            like_input,
            weight,
            mean,
            variance,
            None,
            None,
            False,
            ctx.eps,
            [True, False, False],
        )
        return gradient, None


def _like_input(grad_output: Tensor, ctx: Any) -> Tensor:
    return torch.empty_strided(
        grad_output.shape, ctx.strides, dtype=grad_output.dtype, device=grad_output.device
    )


def _is_two_products(grad_output: Tensor, variance: Tensor) -> bool:
    """Whether PyTorch's kernel rounds as two products: on the CPU, in single precision."""
    types = {grad_output.dtype, variance.dtype}
    return grad_output.device.type == "cpu" and types == {torch.float32}


def _two_products(
    grad_output: Tensor, weight: Tensor | None, variance: Tensor, eps: float, result: Tensor
) -> Tensor:
    """The kernel's gradient, bit for bit, without the sums that the kernel computes as well."""
    inverse = inverse_deviation(variance, eps)
    torch.mul(grad_output, inverse.view(1, -1, 1, 1), out=result)
    return result if weight is None else result.mul_(weight.view(1, -1, 1, 1))


def inverse_deviation(variance: Tensor, eps: float) -> Tensor:
    """1 over the deviation, as PyTorch's kernel rounds it."""
    return (variance.double() + eps).sqrt().reciprocal().to(variance.dtype)
