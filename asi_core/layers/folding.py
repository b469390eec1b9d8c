"""A fixed normalisation folded into the convolution before it.

A normalisation in evaluation mode, its affine map frozen, multiplies each channel by a constant and
adds another. So does a convolution whose weight and bias have been multiplied and shifted alike:
then the normalisation passes over nothing, forward and backward. Results are those without, to
rounding, which is why only a layer is folded into whose weight gradient is approximate anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from asi_core.layers.scales import inverse_deviation, is_fixed
from asi_core.records import ConvGeometry, Geometry

# In fewer bits the scaled weight would be rounded once more than its exact product is.
_PRECISE = (torch.float32, torch.float64)
# A normalisation refuses a single image.
_BATCHED = 4
_MARK = "_asi_normalised"


@dataclass(frozen=True, slots=True)
class Fold:
    """A convolution's weight and bias that have a normalisation in them.

    Attributes:
        weight, bias: of both together.
        factor: by what each output channel was multiplied.
        numbers: the normalisation's own tensors that backward needs for `channel_factor`.
    """

    weight: Tensor
    bias: Tensor
    factor: Tensor
    numbers: tuple[Tensor, Tensor | None]
    eps: float


def folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> Fold:
    """A convolution's weight and bias with a fixed normalisation in them."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    gamma, beta = cast("Tensor | None", norm.weight), cast("Tensor | None", norm.bias)
    by = channel_factor(variance, gamma, norm.eps)
    shift = (-mean if bias is None else bias - mean) * by
    shift = shift if beta is None else shift + beta
    return Fold(scaled(weight, by), shift, by, (variance, gamma), norm.eps)


def channel_factor(variance: Tensor, gamma: Tensor | None, eps: float) -> Tensor:
    """By what a fixed normalisation multiplies each channel."""
    inverse = inverse_deviation(variance, eps)
    return inverse if gamma is None else inverse * gamma


def scaled(weight: Tensor, by: Tensor) -> Tensor:
    """A weight, or a gradient of one or of a bias, with each output channel multiplied."""
    return weight * by.view(-1, *[1] * (weight.dim() - 1))


@dataclass(frozen=True)
class FoldLink:
    """Shared by a convolution and the normalisation that alone reads its output.

    What was normalised already is told by a mark on the tensor itself: passes that run in other
    threads, or that end between the two, cannot be mistaken for another.
    """

    norm: nn.BatchNorm2d

    def fold(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Fold | None:
        """Weight and bias for both, if the normalisation is fixed now and one pass is quicker."""
        if not self._is_worth_it(x, weight, geometry):
            return None
        with torch.no_grad():
            return folded(weight, bias, self.norm)

    def mark(self, output: Tensor, fold: Fold) -> None:
        """Note on the convolution's output that it is normalised."""
        setattr(output, _MARK, (self, fold.factor))

    def factor_of(self, output: Tensor) -> Tensor | None:
        """By what each channel of the output was multiplied; None if it is not normalised."""
        link, factor = getattr(output, _MARK, (None, None))
        return factor if link is self else None

    def _is_worth_it(self, x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
        norm = self.norm
        return (
            is_fixed(norm)
            and is_frozen(norm)
            and not torch.is_autocast_enabled(x.device.type)
            and x.dtype == weight.dtype
            and x.dtype in _PRECISE
            and x.dim() == _BATCHED
            and _outputs_a_channel(x, geometry) > weight[0].numel()
        )


def is_frozen(norm: nn.BatchNorm2d) -> bool:
    """Whether nothing of the normalisation is trained."""
    return not any(p.requires_grad for p in norm.parameters(recurse=False))


def _outputs_a_channel(x: Tensor, geometry: Geometry) -> int:
    """About as many numbers as a channel of the output has: the weight's factor saves a pass."""
    assert isinstance(geometry, ConvGeometry)
    return x.numel() // x.shape[1] // prod(geometry.stride)
