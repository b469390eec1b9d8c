"""A convolution that keeps what its method keeps, instead of its input."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asi_core.methods.base import Method, WarmStart
from asi_core.records import ConvGeometry, Ranks

_WARM_RANKS = "warm_start.ranks"
_WARM_FACTOR = "warm_start.factor_"


class CompressedConv2d(nn.Conv2d):
    """A `nn.Conv2d` whose input is kept compressed from forward to backward.

    The output is that of the plain convolution, bit for bit. Nothing is kept in evaluation
    (without gradients) or while the weight is frozen.

    Attributes:
        method: how the input is kept and both gradients are computed.
        memory: what is carried to the next step; part of the state dict.
        ranks: the multilinear rank kept in the latest training step, None before it.
    """

    method: Method
    memory: WarmStart
    ranks: Ranks | None

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, method: Method, seed: int) -> CompressedConv2d:
        """Take over `conv`, with the same parameters (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = conv.__dict__.copy()
        layer.method = method
        layer.memory = WarmStart(seed=seed)
        layer.ranks = None
        return layer

    def to_conv(self) -> nn.Conv2d:
        """The plain convolution again, with the same parameters."""
        conv = nn.Conv2d.__new__(nn.Conv2d)
        conv.__dict__ = self.__dict__.copy()
        for name in ("method", "memory", "ranks"):
            del conv.__dict__[name]
        return conv

    @property
    def geometry(self) -> ConvGeometry:
        return conv_geometry(self)

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(x)
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        return cast(Tensor, _CompressedConvolution.apply(x, self.weight, self.bias, self))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.memory.ranks is not None:
            destination[prefix + _WARM_RANKS] = torch.tensor(self.memory.ranks)
        for mode, factor in self.memory.factors.items():
            destination[f"{prefix}{_WARM_FACTOR}{mode}"] = factor

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self.memory = WarmStart(seed=self.memory.seed)
        for key in [key for key in state_dict if key.startswith(prefix + "warm_start.")]:
            value = state_dict.pop(key)
            if key == prefix + _WARM_RANKS:
                self.memory.ranks = tuple(value.tolist())
            else:
                mode = int(key.removeprefix(prefix + _WARM_FACTOR))
                self.memory.factors[mode] = value.detach().clone()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class _CompressedConvolution(torch.autograd.Function):
    """Exact forward; gradients by the layer's method from what it kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: CompressedConv2d
    ) -> Tensor:
        geometry = layer.geometry
        output = _convolve(x, weight, bias, geometry)
        saved = layer.method.compress(x, tuple(output.shape), geometry, layer.memory)
        layer.ranks = layer.method.ranks_of(saved)
        ctx.save_for_backward(weight, *saved)
        ctx.method, ctx.geometry, ctx.input_shape = layer.method, geometry, tuple(x.shape)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        method: Method = ctx.method
        needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_input = grad_weight = grad_bias = None
        if needs_input:
            grad_input = method.input_gradient(grad_output, weight, ctx.input_shape, ctx.geometry)
        if needs_weight:
            grad_weight = method.weight_gradient(
                tuple(saved), grad_output, tuple(weight.shape), ctx.geometry
            )
        if needs_bias:
            grad_bias = grad_output.sum(dim=(0, 2, 3))
        return grad_input, grad_weight, grad_bias, None


def conv_geometry(conv: nn.Conv2d) -> ConvGeometry:
    """The geometry as the kernel meets it: non-zero padding modes pad before the convolution."""
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    padding = (top, bottom, left, right) if conv.padding_mode == "zeros" else (0, 0, 0, 0)
    return ConvGeometry(_pair(conv.stride), padding, _pair(conv.dilation), conv.groups)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvGeometry) -> Tensor:
    top, bottom, left, right = geometry.padding
    if geometry.symmetric_padding:
        padding = (top, left)
    else:
        x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
    return F.conv2d(x, weight, bias, geometry.stride, padding, geometry.dilation, geometry.groups)


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return value[0], value[1]
