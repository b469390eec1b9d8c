"""Activations that keep their slope in few bits: exact outputs, approximate gradients.

The gradient of an element-wise function is the gradient of its result times its slope. PyTorch
keeps the input, to compute the slope from it. The slope itself has a small range (for GELU, from
-0.13 to 1.13), so that it loses less by rounding than the input would.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.layer import LeanLayer, needs_gradient
from asi_core.layers.lean.rounding import restored, rounded

# Klambauer et al., 2017.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


class RoundedLayer(LeanLayer):
    """Mixin for a layer that keeps what its gradient needs in few bits.

    Its output is the plain layer's, bit for bit. Its gradient is not.

    Attributes:
        bits: per kept element, 8 or 4; None keeps it as it is.
    """

    bits: int | None = None

    def to_plain(self) -> nn.Module:
        plain = super().to_plain()
        plain.__dict__.pop("bits", None)
        return plain

    def extra_repr(self) -> str:
        own = super().extra_repr()
        kept = "" if self.bits is None else f"gradient from {self.bits} bits"
        return ", ".join(part for part in (own, kept) if part)


class RoundedActivation(RoundedLayer):
    """Mixin for an element-wise activation that keeps its rounded slope."""

    bits: int = 8

    # Named as in PyTorch's own layers, which may be called by keyword.
    def forward(self, input: Tensor) -> Tensor:
        if not needs_gradient(input, self):
            return self.plain_output(input)
        return cast(Tensor, _RoundedSlope.apply(input, self))

    def plain_output(self, x: Tensor) -> Tensor:
        """The output of the plain layer."""
        return cast(Tensor, super().forward(x))

    def slope(self, x: Tensor) -> Tensor:
        """The derivative at every element of `x`, by PyTorch's kernel."""
        raise NotImplementedError


class RoundedCELU(RoundedActivation, nn.CELU):
    """A `nn.CELU` that keeps its slope in few bits."""

    plain = nn.CELU

    def slope(self, x: Tensor) -> Tensor:
        return _slope_of_elu(x, self.alpha, 1.0, 1 / self.alpha)


class RoundedELU(RoundedActivation, nn.ELU):
    """A `nn.ELU` that keeps its slope in few bits."""

    plain = nn.ELU

    def slope(self, x: Tensor) -> Tensor:
        return _slope_of_elu(x, self.alpha, 1.0, 1.0)


class RoundedGELU(RoundedActivation, nn.GELU):
    """A `nn.GELU` that keeps its slope in few bits."""

    plain = nn.GELU

    def slope(self, x: Tensor) -> Tensor:
        return cast(
            Tensor,
            torch.ops.aten.gelu_backward(torch.ones_like(x), x, approximate=self.approximate),
        )


class RoundedHardswish(RoundedActivation, nn.Hardswish):
    """A `nn.Hardswish` that keeps its slope in few bits."""

    plain = nn.Hardswish

    def slope(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.aten.hardswish_backward(torch.ones_like(x), x))


class RoundedMish(RoundedActivation, nn.Mish):
    """A `nn.Mish` that keeps its slope in few bits."""

    plain = nn.Mish

    def slope(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.aten.mish_backward(torch.ones_like(x), x))


class RoundedSELU(RoundedActivation, nn.SELU):
    """A `nn.SELU` that keeps its slope in few bits."""

    plain = nn.SELU

    def slope(self, x: Tensor) -> Tensor:
        return _slope_of_elu(x, _SELU_ALPHA, _SELU_SCALE, 1.0)


class RoundedSiLU(RoundedActivation, nn.SiLU):
    """A `nn.SiLU` that keeps its slope in few bits."""

    plain = nn.SiLU

    def slope(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.aten.silu_backward(torch.ones_like(x), x))


class RoundedSoftplus(RoundedActivation, nn.Softplus):
    """A `nn.Softplus` that keeps its slope in few bits."""

    plain = nn.Softplus

    def slope(self, x: Tensor) -> Tensor:
        return cast(
            Tensor,
            torch.ops.aten.softplus_backward(torch.ones_like(x), x, self.beta, self.threshold),
        )


class _RoundedSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: RoundedActivation) -> Tensor:
        ctx.save_for_backward(*rounded(ctx, layer.slope(x), layer.bits))
        if getattr(layer, "inplace", False):
            ctx.mark_dirty(x)
        return layer.plain_output(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # In place: the result has the memory layout of the input.
        return restored(ctx, *ctx.saved_tensors).mul_(grad_output), None


def _slope_of_elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    return cast(
        Tensor, torch.ops.aten.elu_backward(torch.ones_like(x), alpha, scale, input_scale, False, x)
    )
