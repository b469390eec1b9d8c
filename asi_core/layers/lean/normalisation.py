"""Normalisation that keeps nothing while its gradient does not need its input."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asi_core.layers.folding import FoldLink
from asi_core.layers.lean.layer import LeanLayer, needs_gradient
from asi_core.layers.scales import ScaleFacts, ScaleLink, ScaleNote, inverse_deviation

_TRAINED = "it trains its affine map, whose gradient needs its input"


class LeanBatchNorm2d(LeanLayer, nn.BatchNorm2d):
    """A `nn.BatchNorm2d` that keeps nothing while its statistics are fixed.

    If its affine map is trained, the gradient of the scale comes from the convolution before it
    (`layers.scales`); without one, or in training mode, it is the plain layer, which keeps its
    input. What a compressed convolution before it has folded in (`layers.folding`) is not done
    again.

    Attributes:
        link: to the convolution that gives the gradient of its scale.
        fold: to the convolution that may do its work.
    """

    plain = nn.BatchNorm2d
    link: ScaleLink | None = None
    fold: FoldLink | None = None

    def to_plain(self) -> nn.Module:
        plain = super().to_plain()
        for name in ("link", "fold"):
            plain.__dict__.pop(name, None)
        return plain

    def forward(self, x: Tensor) -> Tensor:
        if self.fold is not None and self.fold.factor_of(x) is not None:
            return x
        note = None if self.link is None else self.link.take()
        if not needs_gradient(x) or self._why_not_fixed() is not None:
            return super().forward(x)
        self._check_input_dim(x)
        if not self._is_trained():
            return cast(Tensor, _FixedNormalisation.apply(x, self.bias, self, None))
        if note is None:
            return super().forward(x)
        return cast(Tensor, _FixedNormalisation.apply(x, self.bias, self, note))

    def why_input_is_needed(self) -> str | None:
        if self._is_trained() and self.link is None:
            return self._why_not_fixed() or _TRAINED
        return self._why_not_fixed()

    def _is_trained(self) -> bool:
        return any(parameter.requires_grad for parameter in self.parameters(recurse=False))

    def _why_not_fixed(self) -> str | None:
        if self.training:
            return "it is in training mode: its gradient needs its input"
        if self.running_mean is None or self.running_var is None:
            return "it has no running statistics: its gradient needs its input"
        return None


class _FixedNormalisation(torch.autograd.Function):
    """Normalisation by fixed numbers: its gradient depends on them only.

    That of the scale, if it is trained, is left to the convolution that takes the note.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, layer: nn.BatchNorm2d, note: ScaleNote | None
    ) -> Tensor:
        mean, variance, weight = layer.running_mean, layer.running_var, layer.weight
        ctx.save_for_backward(weight, mean, variance)
        ctx.eps, ctx.strides, ctx.note = layer.eps, x.stride(), note
        return F.batch_norm(x, mean, variance, weight, bias, eps=layer.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, variance = ctx.saved_tensors
        if ctx.note is not None:
            gradient, sums = _noted(grad_output, weight, mean, variance, ctx)
            return gradient, sums if ctx.needs_input_grad[1] else None, None, None
        gradient = _like_input(grad_output, ctx)
        if _is_two_products(grad_output, variance):
            return _two_products(grad_output, weight, variance, ctx.eps, gradient), None, None, None
        # The kernel wants the input, for its form alone: with it the order of the gradient's
        # numbers and, in half precision, their rounding change.
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
        return gradient, None, None, None


def _noted(
    grad_output: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, ctx: Any
) -> tuple[Tensor, Tensor]:
    """Gradients of input and shift, with a note for the convolution, which gives the scale's."""
    inverse = inverse_deviation(variance, ctx.eps)
    factor = weight * inverse
    # What is divided by later must not be so small that a product with it has lost its digits.
    is_zero = factor.abs() <= torch.finfo(factor.dtype).tiny ** 0.5
    factor, sums = factor.masked_fill(is_zero, 1), grad_output.sum((0, 2, 3))
    note: ScaleNote = ctx.note
    note.facts = ScaleFacts(factor, is_zero, inverse, mean, sums)
    gradient = _like_input(grad_output, ctx)
    return torch.mul(grad_output, factor.view(1, -1, 1, 1), out=gradient), sums


def _like_input(grad_output: Tensor, ctx: Any) -> Tensor:
    return torch.empty_strided(
        grad_output.shape, ctx.strides, dtype=grad_output.dtype, device=grad_output.device
    )


def _is_two_products(grad_output: Tensor, variance: Tensor) -> bool:
    """Whether PyTorch's kernel rounds as two products do: the CPU's, in single precision."""
    types = {grad_output.dtype, variance.dtype}
    return grad_output.device.type == "cpu" and types == {torch.float32}


def _two_products(
    grad_output: Tensor, weight: Tensor | None, variance: Tensor, eps: float, result: Tensor
) -> Tensor:
    """The kernel's gradient to the last bit, without the sums over it that the kernel makes too."""
    inverse = inverse_deviation(variance, eps)
    torch.mul(grad_output, inverse.view(1, -1, 1, 1), out=result)
    return result if weight is None else result.mul_(weight.view(1, -1, 1, 1))
