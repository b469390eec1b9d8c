"""Layers whose weight is frozen, with a low-rank update beside it that is trained (LoRA)."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer, compressed_product
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.differentiating import refuse_transforms
from asi_core.layers.linear import CompressedLinear
from asi_core.layers.products import Product
from asi_core.methods.base import Adapter, Method
from asi_core.records import pointwise_geometry

_ADAPTERS = ("lora_a", "lora_b")


class AdaptedLayer(CompressedLayer):
    """Mixin for a layer that computes with W + scale B A and trains B, and A unless it is frozen.

    The method keeps the input of A. The output of A is kept as it is, for B's gradient; the frozen
    product with W needs no input. Weight and bias have the plain layer's keys in a state dict;
    besides, there are `lora_a` and `lora_b`.

    `requires_grad_` of this layer, as of any other, says whether it is trained: what the method
    leaves frozen stays frozen. Of a whole model it reaches all parameters, these included.

    Attributes:
        lora_a: A, as the weight of a layer of the same kind with `rank` outputs per group.
        lora_b: B, as the weight of a linear layer or a pointwise convolution.
    """

    lora_a: nn.Parameter
    lora_b: nn.Parameter

    @classmethod
    def from_plain(cls, plain: nn.Module, method: Method, seed: int) -> Self:
        layer = super().from_plain(plain, method, seed)
        # Of its own: the plain layer gets no further parameters.
        layer._parameters = dict(plain._parameters)
        shape_a, shape_b = layer.adapter.shapes(tuple(layer.weight.shape), layer.geometry.groups)
        layer.lora_a = nn.Parameter(_uniform(shape_a, seed, like=layer.weight))
        layer.lora_b = nn.Parameter(layer.weight.new_zeros(shape_b))
        return layer

    def to_plain(self) -> nn.Module:
        """The plain layer with the same parameters, into which the update is merged."""
        self.merge_()
        plain = super().to_plain()
        plain._parameters = {n: p for n, p in self._parameters.items() if n not in _ADAPTERS}
        return plain

    @property
    def adapter(self) -> Adapter:
        """The method's adapter."""
        assert self.method.adapter is not None
        return self.method.adapter

    @property
    def is_trained(self) -> bool:
        return self.lora_b.requires_grad or super().is_trained

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        super().requires_grad_(requires_grad)
        for frozen in (self.weight, self.bias, None if self.adapter.trains_a else self.lora_a):
            if frozen is not None:
                frozen.requires_grad_(False)
        return self

    @torch.no_grad()
    def merge_(self) -> None:
        """Add the update to the weight and set B to zero, in place: the same output."""
        self.weight.add_(self.update())
        self.lora_b.zero_()

    def update(self) -> Tensor:
        """scale B A, of the weight's shape."""
        groups = self.geometry.groups
        a, b = (p.unflatten(0, (groups, -1)).flatten(2) for p in (self.lora_a, self.lora_b))
        product: Tensor = b @ a
        return self.adapter.scale * product.view_as(self.weight)

    def training_output(self, x: Tensor) -> Tensor:
        refuse_transforms(self)
        if not self.lora_a.requires_grad:
            self.memory.initialised = False
        own = Product(
            self.product,
            self.geometry,
            padded=self.padded,
            padded_backward=self.padded_backward,
        )
        of_a = replace(own, method=self.method, compress=self.compress)
        of_b = Product(self.product, pointwise_geometry(self.geometry))
        output = compressed_product(own, x, self.weight, self.bias)
        between = compressed_product(of_a, x, self.lora_a, None)
        update = compressed_product(of_b, between, self.lora_b, None)
        return output.add_(update, alpha=self.adapter.scale)

    def plain_output(self, x: Tensor) -> Tensor:
        between = self.product(self.padded(x), self.lora_a, None, self.geometry)
        update = self.product(between, self.lora_b, None, pointwise_geometry(self.geometry))
        return super().plain_output(x).add_(update, alpha=self.adapter.scale)

    def _needs_gradient(self, x: Tensor) -> bool:
        wanted = self.lora_a.requires_grad or self.lora_b.requires_grad
        is_wanted = torch.is_grad_enabled() and wanted and x.numel() > 0
        return is_wanted or super()._needs_gradient(x)


class AdaptedConv2d(AdaptedLayer, CompressedConv2d):
    """A `nn.Conv2d` with a low-rank update."""


class AdaptedLinear(AdaptedLayer, CompressedLinear):
    """A `nn.Linear` with a low-rank update."""


def _uniform(shape: tuple[int, ...], seed: int, like: Tensor) -> Tensor:
    """The start of PyTorch's own layers, from a separate generator: uniform in +-1 / sqrt(inputs).

    Drawn on the CPU so that all devices start from the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.empty(shape, dtype=torch.float64)
    return start.uniform_(-1, 1, generator=generator).div_(start[0].numel() ** 0.5).to(like)
