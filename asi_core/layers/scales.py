"""The gradient of a normalisation's scale, from that of the convolution before it.

A normalisation in evaluation mode multiplies each channel of `y = W * x + b` by a trained scale.
The scale's gradient is a sum over `y`, which is therefore kept. But that sum is also, by channel,
the product of `W` with its own gradient, which the convolution computes anyway: then `y` need not
be kept. The convolution's backward pass comes second, so it gives the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ScaleFacts:
    """What a normalisation's backward pass tells the convolution's, one number a channel.

    Attributes:
        factor: by which the gradient of the convolution's output came to be multiplied: scale over
            deviation, or 1 where that is zero.
        is_zero: where it is.
        inverse, mean: 1 over the deviation, and the mean.
        sums: of the gradient of the normalisation's output.
    """

    factor: Tensor
    is_zero: Tensor
    inverse: Tensor
    mean: Tensor
    sums: Tensor

    def gradient(self, weight: Tensor, grad_weight: Tensor, bias: Tensor | None) -> Tensor:
        """Of the scale, from the convolution's weight and its gradient (before `without_zero`)."""
        products = (weight * grad_weight).flatten(1).sum(1) / self.factor
        offset = self.mean if bias is None else self.mean - bias
        return self.inverse * (products - offset * self.sums)

    def without_zero(self, gradient: Tensor, mode: int) -> Tensor:
        """`gradient`, zero in the channels (along `mode`) whose scale is zero."""
        if not bool(self.is_zero.any()):
            return gradient
        shape = [-1 if m == mode else 1 for m in range(gradient.dim())]
        return gradient.masked_fill(self.is_zero.view(shape), 0)


@dataclass(slots=True)
class ScaleNote:
    """Of one forward pass; the normalisation's backward pass fills in `facts`, if it can."""

    facts: ScaleFacts | None = None


@dataclass(slots=True)
class ScaleLink:
    """Shared by a convolution and the normalisation that alone reads its output.

    Attributes:
        norm: the normalisation.
        note: of the convolution's latest forward pass, until the normalisation takes it.
    """

    norm: nn.BatchNorm2d
    note: ScaleNote | None = field(default=None, repr=False)

    def scale(self, x: Tensor) -> Tensor | None:
        """The normalisation's scale, if it is trained and the convolution may give its gradient."""
        norm = self.norm
        is_whole = norm.weight.dtype == x.dtype and not torch.is_autocast_enabled(x.device.type)
        return norm.weight if is_whole and is_fixed(norm) and norm.weight.requires_grad else None

    def take(self) -> ScaleNote | None:
        """The note, once."""
        note, self.note = self.note, None
        return note

    def __getstate__(self) -> Any:
        return {"norm": self.norm}

    def __setstate__(self, state: Any) -> None:
        self.norm, self.note = state["norm"], None


def is_fixed(norm: nn.BatchNorm2d) -> bool:
    """Whether the normalisation takes its statistics from what it has seen before."""
    return not norm.training and norm.running_mean is not None and norm.running_var is not None


def inverse_deviation(variance: Tensor, eps: float) -> Tensor:
    """1 over the deviation, as PyTorch's kernel rounds it."""
    return (variance.double() + eps).sqrt().reciprocal().to(variance.dtype)
