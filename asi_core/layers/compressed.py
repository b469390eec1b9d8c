"""What all layers share that keep what their method keeps, instead of their input."""

from __future__ import annotations

from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asi_core.methods.base import Method, WarmStart
from asi_core.records import Geometry, Ranks

_WARM_RANKS = "warm_start.ranks"
_WARM_FACTOR = "warm_start.factor_"


class CompressedLayer(nn.Module):
    """Mixed into a plain layer: its input is kept compressed from forward to backward.

    The output is that of the plain layer, bit for bit. Nothing is kept in evaluation (without
    gradients) or while the weight is frozen.

    Attributes:
        plain: the type of layer that this one replaces.
        method: how the input is kept and both gradients are computed.
        memory: what is carried to the next step; part of the state dict.
        ranks: the multilinear rank kept in the latest training step, None before it.
    """

    plain: type[nn.Module]
    method: Method
    memory: WarmStart
    ranks: Ranks | None
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def from_plain(cls, plain: nn.Module, method: Method, seed: int) -> Self:
        """Take over `plain`, with the same parameters (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = plain.__dict__.copy()
        layer.method = method
        layer.memory = WarmStart(seed=seed)
        layer.ranks = None
        return layer

    def to_plain(self) -> nn.Module:
        """The plain layer again, with the same parameters."""
        plain = self.plain.__new__(self.plain)
        plain.__dict__ = self.__dict__.copy()
        for name in ("method", "memory", "ranks"):
            del plain.__dict__[name]
        return plain

    @property
    def geometry(self) -> Geometry:
        """How the layer walks over its input, after `padded`."""
        raise NotImplementedError

    def padded(self, x: Tensor) -> Tensor:
        """The input as the product meets it."""
        return x

    @staticmethod
    def product(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        """The layer's output."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad) or x.numel() == 0:
            return cast(Tensor, super().forward(x))
        operands = [self.padded(x), self.weight, self.bias]
        device = x.device.type
        if torch.is_autocast_enabled(device):
            # As autocast does for a plain layer: the lower precision is what is computed with
            # and what is kept.
            lower = torch.get_autocast_dtype(device)
            operands = [t if t is None else _cast(t, lower) for t in operands]
        with torch.autocast(device, enabled=False):
            return cast(Tensor, _CompressedProduct.apply(*operands, self))

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


class _CompressedProduct(torch.autograd.Function):
    """Exact forward; gradients by the layer's method from what it kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: CompressedLayer
    ) -> Tensor:
        geometry = layer.geometry
        output = layer.product(x, weight, bias, geometry)
        saved = layer.method.compress(_single(x), tuple(output.shape), geometry, layer.memory)
        layer.ranks = layer.method.ranks_of(saved)
        ctx.save_for_backward(weight, *(None if t is None else t.to(x.dtype) for t in saved))
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
                tuple(None if t is None else _single(t) for t in saved),
                _single(grad_output),
                tuple(weight.shape),
                ctx.geometry,
            ).to(weight.dtype)
        if needs_bias:
            grad_bias = grad_output.sum(dim=_all_but_channels(grad_output, ctx.geometry))
        return grad_input, grad_weight, grad_bias, None


def _single(tensor: Tensor) -> Tensor:
    """Half precisions as float32: decompositions and small contractions need its range."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _cast(tensor: Tensor, lower: torch.dtype) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.to(lower)


def _all_but_channels(grad_output: Tensor, geometry: Geometry) -> list[int]:
    channel = geometry.channel_mode(grad_output.dim())
    return [mode for mode in range(grad_output.dim()) if mode != channel]
