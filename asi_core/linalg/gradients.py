"""Gradients of a convolution or linear layer, from the full or the compressed input.

The weight gradient from a Tucker form never rebuilds the input: it projects the batch mode of the
output gradient, and expands the core over as few modes as the convolution's geometry requires
(ASI, ICML 2025, section 3.3; the grouped case is our own).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.linalg.depthwise import depthwise_weight_gradient
from asi_core.linalg.orders import depthwise_by_windows, least_work_order
from asi_core.linalg.tucker import Tucker
from asi_core.linalg.unfolding import CHANNELS_LAST, Ordered, mode_inner
from asi_core.records import ConvGeometry, Geometry, LinearGeometry

# Into how many parts the gradient of a weight with more elements than `_LARGE` is divided.
_PARTS, _LARGE = 8, 2**18


def conv_weight_gradient(
    x: Tensor, grad_output: Tensor, weight_shape: tuple[int, ...], geometry: ConvGeometry
) -> Tensor:
    """Exact weight gradient, C' x C/g x Kh x Kw, with input `x` (B x C x H x W)."""
    x, padding = _pad_unequal(x, geometry)
    walk = geometry.stride, padding, geometry.dilation, False, (0, 0), geometry.groups
    if not is_larger_than_input(weight_shape, x, geometry):
        return _conv_weight_gradient(x, grad_output, weight_shape, walk)
    # The kernel needs two or three times its result within. Parts have the same numbers, take no
    # longer, and need that for a part at a time.
    is_last = Ordered.of(x).order == CHANNELS_LAST
    layout = torch.channels_last if is_last else torch.contiguous_format
    gradient = torch.empty(weight_shape, dtype=x.dtype, device=x.device, memory_format=layout)
    parts = zip(gradient.chunk(_PARTS), grad_output.chunk(_PARTS, 1), strict=True)
    for part, grad_part in parts:
        part.copy_(_conv_weight_gradient(x, grad_part, tuple(part.shape), walk))
    return gradient


def is_larger_than_input(weight_shape: tuple[int, ...], x: Tensor, geometry: ConvGeometry) -> bool:
    """Whether a weight's gradient is much larger than what it is computed from."""
    numel = prod(weight_shape)
    return geometry.groups == 1 and numel > max(_LARGE, x.numel()) and weight_shape[0] >= _PARTS


def _conv_weight_gradient(
    x: Tensor, grad_output: Tensor, weight_shape: tuple[int, ...], walk: tuple[Any, ...]
) -> Tensor:
    like = x.new_empty(1).expand(weight_shape)
    wanted = [False, True, False]
    _, gradient, _ = torch.ops.aten.convolution_backward(grad_output, x, like, None, *walk, wanted)
    return cast(Tensor, gradient)


def conv_input_gradient(
    grad_output: Tensor, weight: Tensor, input_shape: tuple[int, ...], geometry: ConvGeometry
) -> Tensor:
    """Exact input gradient, of shape `input_shape`: needs the weight but not the input."""
    top, bottom, left, right = geometry.padding
    height, width = input_shape[2:]
    symmetric = geometry.symmetric_padding
    met = (height, width) if symmetric else (height + top + bottom, width + left + right)
    padding = (top, left) if symmetric else (0, 0)
    # The kernel that `convolution_backward` calls, which also requires an input to choose the
    # memory order.
    gradient = F.conv_transpose2d(
        grad_output,
        weight,
        None,
        geometry.stride,
        padding,
        _unmet(met, padding, tuple(grad_output.shape[2:]), tuple(weight.shape[2:]), geometry),
        geometry.groups,
        geometry.dilation,
    )
    return gradient if symmetric else gradient[:, :, top : top + height, left : left + width]


def linear_weight_gradient(x: Tensor, grad_output: Tensor) -> Tensor:
    """Exact weight gradient, O x F, of an input B x ... x F and `grad_output` B x ... x O."""
    gradient: Tensor = grad_output.flatten(0, -2).T @ x.flatten(0, -2)
    return gradient


def weight_gradient(
    x: Tensor, grad_output: Tensor, weight_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """Exact weight gradient of either kind of layer."""
    if isinstance(geometry, LinearGeometry):
        return linear_weight_gradient(x, grad_output)
    return conv_weight_gradient(x, grad_output, weight_shape, geometry)


def input_gradient(
    grad_output: Tensor, weight: Tensor, input_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """Exact input gradient of either kind of layer, of shape `input_shape`."""
    if isinstance(geometry, LinearGeometry):
        return grad_output @ weight
    return conv_input_gradient(grad_output, weight, input_shape, geometry)


def tucker_weight_gradient(
    tucker: Tucker, grad_output: Tensor, weight_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """Weight gradient of a layer whose input is known as a Tucker form.

    Args:
        tucker: of the input: batch x channel x height x width of a convolution, batch x ... x
            features of a linear layer.
        grad_output: B x C' x H' x W', or B x ... x O.

    Returns:
        C' x C/g x Kh x Kw, or O x F; exactly the gradient that the rebuilt input would give.
    """
    if isinstance(geometry, LinearGeometry):
        return _linear(tucker, grad_output)
    if geometry.is_pointwise(weight_shape):
        return _pointwise(tucker, grad_output, weight_shape)
    if _is_by_windows(tucker, grad_output, weight_shape, geometry.groups):
        return depthwise_weight_gradient(tucker, grad_output, weight_shape, geometry)
    projected = _batch_projected(grad_output, tucker.factors[0], geometry.groups)
    # The channels last: they grow most, and a product with few channels is cheap.
    modes = (2, 3, 1) if geometry.groups > 1 else (2, 3)
    lifted = _multiplied(tucker.core, {mode: tucker.factors[mode] for mode in modes})
    reduced_shape = (weight_shape[0], lifted.shape[1] // geometry.groups, *weight_shape[2:])
    gradient = conv_weight_gradient(lifted, projected, reduced_shape, geometry)
    return gradient if geometry.groups > 1 else _multiplied(gradient, {1: tucker.factors[1]})


def _is_by_windows(
    tucker: Tucker, grad_output: Tensor, weight_shape: tuple[int, ...], groups: int
) -> bool:
    sizes = [r if f is None else len(f) for r, f in zip(tucker.ranks, tucker.factors, strict=True)]
    return depthwise_by_windows(sizes, tucker.ranks, grad_output.shape, weight_shape, groups)


def _linear(tucker: Tucker, grad_output: Tensor) -> Tensor:
    gradient = linear_weight_gradient(tucker.core, _projected_but(-1, tucker, grad_output))
    return _multiplied(gradient, {1: tucker.factors[-1]})


def _pointwise(tucker: Tucker, grad_output: Tensor, weight_shape: tuple[int, ...]) -> Tensor:
    gradient = mode_inner(_projected_but(1, tucker, grad_output), tucker.core, 1)
    return _multiplied(gradient, {1: tucker.factors[1]}).reshape(weight_shape)


def _projected_but(channel: int, tucker: Tucker, grad_output: Tensor) -> Tensor:
    """The output gradient projected onto the input's factors, in all modes except the channels."""
    channel %= grad_output.dim()
    factors = {m: f for m, f in enumerate(tucker.factors) if f is not None and m != channel}
    sizes, ranks = grad_output.shape, tucker.core.shape
    order = least_work_order(sizes, ranks, factors)
    return _multiplied(grad_output, {mode: factors[mode].T for mode in order})


def _multiplied(tensor: Tensor, matrices: Mapping[int, Tensor | None]) -> Tensor:
    """`tensor` times a matrix along each mode, one after the other; None is the identity."""
    product = Ordered.of(tensor)
    for mode, matrix in matrices.items():
        product = product if matrix is None else product.product(matrix, mode)
    return product.tensor()


def _batch_projected(grad_output: Tensor, factor: Tensor | None, groups: int) -> Tensor:
    if factor is None:
        return grad_output
    ordered = Ordered.of(grad_output)
    if groups == 1 or ordered.order != CHANNELS_LAST:
        return ordered.product(factor.T, 0).tensor()
    # A product for each position, and a copy of the result, take half the time of one product with
    # few rows on several cores. The copy is no larger than the input that is lifted next.
    batch, *positions, channels = ordered.dense.shape
    by_position = ordered.dense.reshape(batch, -1, channels).transpose(0, 1)
    found = torch.bmm(factor.T.expand(len(by_position), -1, -1), by_position).transpose(0, 1)
    in_order = found.reshape(-1, *positions, channels)
    return Ordered(in_order, ordered.order).tensor()


def _unmet(
    sizes: tuple[int, ...],
    padding: tuple[int, ...],
    outputs: tuple[int, ...],
    taps: tuple[int, ...],
    geometry: ConvGeometry,
) -> list[int]:
    """Rows and columns at the end that no window reaches because of the stride."""
    facts = zip(sizes, padding, outputs, taps, geometry.stride, geometry.dilation, strict=True)
    return [
        size + 2 * pad - stride * (count - 1) - dilation * (tap - 1) - 1
        for size, pad, count, tap, stride, dilation in facts
    ]


def _pad_unequal(x: Tensor, geometry: ConvGeometry) -> tuple[Tensor, tuple[int, int]]:
    top, bottom, left, right = geometry.padding
    if geometry.symmetric_padding:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom)), (0, 0)
