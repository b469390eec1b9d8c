"""Layers whose bias is trained, and whose weight only where a plan says so."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.linear import CompressedLinear
from asi_core.methods.base import Method, WarmStart


class SelectiveLayer(CompressedLayer):
    """Mixin for a layer that always trains its bias, and its weight unless its ranks are zeros.

    Without the weight's gradient nothing of the input is kept: the bias needs the gradient of the
    output alone. A layer without a bias gets one of zeros, which a plain layer made from it has
    too, unless it is zero still.

    `requires_grad_` of this layer, as of any other, says whether it is trained: a weight that the
    plan leaves frozen stays frozen. Of a whole model it reaches all parameters, these included.
    """

    _had_bias: bool

    @classmethod
    def from_plain(cls, plain: nn.Module, method: Method, seed: int) -> Self:
        layer = super().from_plain(plain, method, seed)
        # Of its own: the plain layer gets no bias.
        layer._parameters = dict(plain._parameters)
        layer._had_bias = layer.bias is not None
        if layer.bias is None:
            zeros = layer.weight.new_zeros(len(layer.weight))
            layer._parameters["bias"] = nn.Parameter(zeros, layer.weight.requires_grad)
        return layer

    def to_plain(self) -> nn.Module:
        plain: Any = super().to_plain()
        plain._parameters = dict(self._parameters)
        if not plain.__dict__.pop("_had_bias") and not plain.bias.any():
            plain._parameters["bias"] = None
        made: nn.Module = plain
        return made

    @property
    def is_trained(self) -> bool:
        assert self.bias is not None
        return self.bias.requires_grad or super().is_trained

    @property
    def trains_weight(self) -> bool:
        """Whether the weight is trained where the layer is; it is before there is a plan."""
        return self.memory.ranks is None or any(self.memory.ranks)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        super().requires_grad_(requires_grad)
        self.weight.requires_grad_(requires_grad and self.trains_weight)
        return self

    def remember_(self, memory: WarmStart) -> None:
        super().remember_(memory)
        self.requires_grad_(self.is_trained)

    def frozen_output(self, x: Tensor) -> Tensor:
        if self.is_trained and torch.is_grad_enabled():
            self.ranks = self.memory.ranks
        return super().frozen_output(x)


class SelectiveConv2d(SelectiveLayer, CompressedConv2d):
    """A `nn.Conv2d` of which a plan says whether its weight is trained."""


class SelectiveLinear(SelectiveLayer, CompressedLinear):
    """A `nn.Linear` of which a plan says whether its weight is trained."""
