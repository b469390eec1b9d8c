"""A convolution and the batch normalisation after it, computed together.

A normalisation with fixed statistics multiplies each channel by a constant and adds another. So
all gradients of the pair follow from the gradient of the normalisation's output alone, and nothing
between the two is kept. Let `W` be the convolution's weight, `b` its bias, `f = gamma / deviation`
the factor of each channel, `G` the gradient of the normalisation's output, `s` its sums over all
modes except the channels, and `D` the convolution's weight gradient at `G`. Then, per channel,

    dW = f D        db = f s        dbeta = s
    dgamma = (<W, D> + (b - mean) s) / deviation
    dx = the convolution's input gradient at `G`, with weight `f W`

If the normalisation is frozen and the weight gradient approximate anyway, the forward pass is a
single convolution with weight `f W`: equal up to rounding, with one pass less over the output.
"""

from __future__ import annotations

from math import prod
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.compressed import (
    input_gradient,
    kept_of,
    may_overwrite,
    overwritten,
    single,
    smaller_first,
)
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.normalisation import LeanBatchNorm2d, inverse_deviation

# In fewer bits the scaled weight would be rounded once more than its exact product.
_PRECISE = (torch.float32, torch.float64)


class FusedBatchNorm2d(LeanBatchNorm2d):
    """Placeholder for a normalisation that the convolution before it computes; returns its input.

    The convolution reads its parameters, statistics and mode. The two belong together: call
    `restore_` or `unlean_` before replacing one of them.
    """

    def forward(self, input: Tensor) -> Tensor:
        return input

    def why_input_is_needed(self) -> str | None:
        return self.why_not_fixed()

    def alone(self) -> LeanBatchNorm2d:
        """The normalisation as a separate layer that computes itself, with the same parameters."""
        return LeanBatchNorm2d.from_plain(self)

    def extra_repr(self) -> str:
        own: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{own}, computed by the convolution before it"


class CompressedConvNorm2d(CompressedConv2d):
    """A trained convolution that also computes the normalisation after it.

    Its output is the normalisation's. The normalisation is its neighbour (`FusedBatchNorm2d`), not
    its child, so that a state dict has the plain model's keys. If the statistics are not fixed, in
    mixed precision and without gradients, it computes one after the other, as plain layers do.

    Attributes:
        may_fold: whether the forward pass may be folded into a single convolution.
    """

    may_fold: bool
    # In a tuple, which PyTorch does not search for modules.
    _after: tuple[FusedBatchNorm2d]

    @classmethod
    def of(cls, conv: CompressedConv2d, norm: FusedBatchNorm2d, *, may_fold: bool) -> Self:
        """Combine `conv` and `norm`, with their parameters (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = {**conv.__dict__, "_after": (norm,), "may_fold": may_fold}
        return layer

    @property
    def norm(self) -> FusedBatchNorm2d:
        """The normalisation whose output this layer returns."""
        (norm,) = self._after
        return norm

    def alone(self) -> CompressedConv2d:
        """The convolution without the normalisation, with the same parameters and warm start."""
        conv = CompressedConv2d.__new__(CompressedConv2d)
        own = ("_after", "may_fold")
        conv.__dict__ = {k: v for k, v in self.__dict__.items() if k not in own}
        return conv

    def to_plain(self) -> nn.Module:
        return self.alone().to_plain()

    def plain_output(self, x: Tensor) -> Tensor:
        return LeanBatchNorm2d.forward(self.norm, super().plain_output(x))

    def frozen_output(self, x: Tensor) -> Tensor:
        return LeanBatchNorm2d.forward(self.norm, super().frozen_output(x))

    def compressed_output(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not (self._is_exact(x) and (norm.is_trained or self.folds(x))):
            return LeanBatchNorm2d.forward(norm, super().compressed_output(x))
        output = cast(
            Tensor, _ConvNorm.apply(x, self.weight, self.bias, norm.weight, norm.bias, self)
        )
        if self.watcher is not None:
            self.watcher(output, channel_factor(norm))
        return output

    def folds(self, x: Tensor) -> bool:
        """Whether the forward pass for `x` is a single convolution."""
        # Scaling takes one pass over the weight, and saves one over the output.
        outputs = x.numel() // x.shape[1] // prod(self.geometry.stride)
        is_quicker = outputs > self.weight[0].numel()
        frozen = not self.norm.is_trained
        return self.may_fold and frozen and is_quicker and x.dtype in _PRECISE

    def _is_exact(self, x: Tensor) -> bool:
        """Whether the pair's gradients depend only on fixed numbers, all of one type."""
        norm = self.norm
        own = [self.weight, norm.weight, norm.running_var]
        types = {x.dtype, *(t.dtype for t in own if t is not None)}
        is_mixed = len(types) > 1 or torch.is_autocast_enabled(x.device.type)
        return not is_mixed and x.dim() == 4 and norm.why_not_fixed() is None


def channel_factor(norm: nn.BatchNorm2d) -> Tensor:
    """The factor by which a fixed normalisation multiplies each channel."""
    assert norm.running_var is not None
    with torch.no_grad():
        return _factor(norm.running_var, cast("Tensor | None", norm.weight), norm.eps)


class _ConvNorm(torch.autograd.Function):
    """Convolution and normalisation; the weight gradient by the layer's method, from what it
    kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        layer: CompressedConvNorm2d,
    ) -> Tensor:
        norm, geometry = layer.norm, layer.geometry
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        padded = layer.padded(x)
        output_shape = geometry.output_shape(tuple(padded.shape), tuple(weight.shape))
        # First, so that what it needs in between and the output are not there at once.
        kept = kept_of(layer, padded, output_shape)
        if layer.folds(x):
            by = _factor(variance, gamma, norm.eps)
            shift = (-mean if bias is None else bias - mean) * by
            shift = shift if beta is None else shift + beta
            scaled = _scaled(weight, by)
        overwrites = may_overwrite(layer, x, output_shape, kept)

        def pair(part: Tensor) -> Tensor:
            if layer.folds(x):
                return layer.product(part, scaled, shift, geometry)
            between = layer.product(part, weight, bias, geometry)
            return F.batch_norm(between, mean, variance, gamma, beta, eps=norm.eps)

        if overwrites:
            ctx.mark_dirty(x)
        output = overwritten(x, pair) if overwrites else pair(padded)
        ctx.overwrites_gradient = layer.overwrites_gradient and layer.watcher is None
        ctx.save_for_backward(weight, bias, gamma, mean, variance, *kept)
        ctx.layer, ctx.method, ctx.geometry, ctx.eps = layer, layer.method, geometry, norm.eps
        ctx.input_shape, ctx.padded_shape = tuple(x.shape), tuple(padded.shape)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad_output.device.type, enabled=False):
            return _gradients(ctx, grad_output)


def _gradients(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    """The equations at the top of this file."""
    weight, bias, gamma, mean, variance, *saved = ctx.saved_tensors
    needs_input, needs_weight, needs_bias, needs_gamma, needs_beta, _ = ctx.needs_input_grad
    inverse, by = inverse_deviation(variance, ctx.eps), _factor(variance, gamma, ctx.eps)
    grad_bias = grad_gamma = grad_beta = None
    sums = grad_output.sum((0, 2, 3)) if needs_bias or needs_gamma or needs_beta else None

    # By linearity, the gradient of the output can be scaled instead of the weight and its gradient:
    # it may be smaller, and no copy of them is needed. `gamma` needs the unscaled one.
    met = grad_output
    if scales_gradient := not needs_gamma and grad_output.numel() < weight.numel():
        factors = by.view(-1, 1, 1)
        met = met.mul_(factors) if ctx.overwrites_gradient else met * factors

    def of_weight() -> Tensor:
        kept = tuple(None if t is None else single(t) for t in saved)
        plain: Tensor = ctx.method.weight_gradient(
            kept, single(met), tuple(weight.shape), ctx.geometry
        )
        if needs_gamma:
            assert sums is not None
            offset = -mean if bias is None else bias - mean
            products = (weight * plain).flatten(1).sum(1)
            of_gamma.append((inverse * (products + offset * sums)).to(gamma.dtype))
        found = plain if scales_gradient else plain.mul_(_per_output(by, plain))
        return found.to(weight.dtype)

    def of_input() -> Tensor:
        through = weight if scales_gradient else _scaled(weight, by)
        found = input_gradient(ctx, ctx.method.input_gradient, met, through, ctx.padded_shape)
        return cast(Tensor, ctx.layer.padded_backward(found, ctx.input_shape))

    of_gamma: list[Tensor] = []
    grad_input, grad_weight = smaller_first(
        of_input if needs_input else None,
        of_weight if needs_weight or needs_gamma else None,
        ctx,
        grad_output,
        weight,
    )
    if needs_gamma:
        (grad_gamma,) = of_gamma
    if not needs_weight:
        grad_weight = None
    if sums is not None:
        grad_bias = sums * by if needs_bias else None
        grad_beta = sums if needs_beta else None
    return grad_input, grad_weight, grad_bias, grad_gamma, grad_beta, None


def _factor(variance: Tensor, gamma: Tensor | None, eps: float) -> Tensor:
    inverse = inverse_deviation(variance, eps)
    return inverse if gamma is None else inverse * gamma


def _scaled(weight: Tensor, by: Tensor) -> Tensor:
    """A weight with each output channel multiplied by a factor."""
    return weight * _per_output(by, weight)


def _per_output(by: Tensor, weight: Tensor) -> Tensor:
    """Factors of output channels, to multiply a weight or its gradient."""
    return by.view(-1, *[1] * (weight.dim() - 1))
