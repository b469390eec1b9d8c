"""Layers that compute with two factors of their weight, and train the whole of it (WASI)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asi_core.layers.compressed import (
    CompressedLayer,
    compressed_product,
    has_batch,
    in_autocast_type,
    kept_of,
    single,
)
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.differentiating import once_differentiable, refuse_transforms
from asi_core.layers.linear import CompressedLinear
from asi_core.layers.products import Product


class FactoredLayer(CompressedLayer):
    """Mixin for a layer whose output and input gradient are computed with L R, of low rank.

    The gradient of the weight is that of a layer that computes with the weight itself, from what
    the method keeps of the input.
    """

    def to_plain(self) -> nn.Module:
        """The plain layer, whose weight is L R once training has started: the same output."""
        if self.memory.weight_factor is not None:
            with torch.no_grad():
                left, right = self._factors(iterate=False)
                product = left.flatten(1) @ right.flatten(1)
                self.weight.copy_(product.view_as(self.weight))
        return super().to_plain()

    def training_output(self, x: Tensor) -> Tensor:
        refuse_transforms(self)
        is_trained = self.weight.requires_grad
        if not is_trained:
            self.memory.initialised = False
        output = self._output(x, *self._factors(iterate=is_trained))
        if is_trained:
            output = _WithWeightGradient.apply(output, x.detach(), self.weight, self)
            if self.watcher is not None:
                self.watcher(output, None)
        return output

    def plain_output(self, x: Tensor) -> Tensor:
        return self._output(x, *self._factors(iterate=False))

    def _factors(self, *, iterate: bool) -> tuple[Tensor, Tensor]:
        """L and R as weights of layers of the same kind."""
        memory = self.memory_of_step() if iterate else self.memory
        left, right = self.method.weight_factors(
            single(self.weight.detach()), memory, iterate=iterate and not memory.is_repeated
        )
        return self._as_weight(left), self._as_weight(right)

    def _as_weight(self, factor: Tensor) -> Tensor:
        return factor.view(*factor.shape, *self.weight.shape[2:]).to(self.weight)

    def _output(self, x: Tensor, left: Tensor, right: Tensor) -> Tensor:
        product = Product(self.product, self.geometry)
        output = compressed_product(
            product, compressed_product(product, x, right, None), left, None
        )
        if self.bias is None:
            return output
        bias = self.bias.to(output.dtype)
        # In place and apart, so that without an input gradient neither factor is kept.
        return output.add_(bias.view(-1, *[1] * (self.weight.dim() - 2)))


class FactoredConv2d(FactoredLayer, CompressedConv2d):
    """A pointwise `nn.Conv2d` that computes with factors of its weight."""


class FactoredLinear(FactoredLayer, CompressedLinear):
    """A `nn.Linear` that computes with factors of its weight."""


class _WithWeightGradient(torch.autograd.Function):
    """Returns the output of a layer, and adds the weight's gradient in backward."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, x: Tensor, weight: Tensor, layer: FactoredLayer
    ) -> Tensor:
        (x,) = cast("list[Tensor]", in_autocast_type(x))
        ctx.geometry, ctx.method = layer.geometry, layer.method
        ctx.is_batched = has_batch(x, ctx.geometry)
        ctx.weight_shape, ctx.dtype = tuple(weight.shape), weight.dtype
        made = output if ctx.is_batched else output[None]
        kept = kept_of(layer, x if ctx.is_batched else x[None], tuple(made.shape))
        ctx.save_for_backward(*kept)
        ctx.mark_dirty(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad_output.device.type, enabled=False):
            gradient = ctx.method.weight_gradient(
                tuple(None if t is None else single(t) for t in ctx.saved_tensors),
                single(grad_output if ctx.is_batched else grad_output[None]),
                ctx.weight_shape,
                ctx.geometry,
            )
        return grad_output, None, gradient.to(ctx.dtype), None
