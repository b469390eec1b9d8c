"""Gradient filtering: both gradients of a convolution on patches (Yang et al., CVPR 2023).

The output is divided into patches of R x R, the input into as many windows of (R s) x (R s), with s
the stride. The output gradient is replaced by its mean over each patch. Then the weight gradient
is the same at every kernel position, and the input gradient the same within every window.
"""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.records import ConvGeometry


def window_sums(
    x: Tensor, output_size: tuple[int, int], stride: tuple[int, int], patch: int
) -> Tensor:
    """Sums of `x` (B x C x H x W) over the windows of the output's patches.

    Returns:
        B x C x ceil(H'/R) x ceil(W'/R).
    """
    size = (x.shape[2], x.shape[3])
    # If a patch covers the whole output, its window covers the whole input; a larger one would only
    # take more memory for the same sums.
    whole = (max(o, ceil(n / s)) for n, o, s in zip(size, output_size, stride, strict=True))
    patch = min(patch, max(whole))
    windows = (patch * stride[0], patch * stride[1])
    margins = _margins(size, output_size, stride, patch)
    return F.avg_pool2d(F.pad(x, margins), windows, divisor_override=1)


def filtered_weight_gradient(
    sums: Tensor, grad_output: Tensor, weight_shape: tuple[int, ...], groups: int, patch: int
) -> Tensor:
    """Weight gradient from window sums: one value per channel pair, for all kernel positions."""
    means = patch_means(grad_output, patch)
    if means.shape[1] == sums.shape[1] == groups:
        pairs = (means * sums).sum(dim=(0, 2, 3))
    else:
        pairs = torch.einsum("bgop,bgip->goi", _by_group(means, groups), _by_group(sums, groups))
    return pairs.reshape(*weight_shape[:2], 1, 1).expand(weight_shape).contiguous()


def filtered_input_gradient(
    grad_output: Tensor,
    weight: Tensor,
    input_shape: tuple[int, ...],
    geometry: ConvGeometry,
    patch: int,
) -> Tensor:
    """Input gradient through the summed kernel, spread evenly over each window."""
    groups = geometry.groups
    kernel = weight.sum(dim=(2, 3)).unflatten(0, (groups, -1))
    means = patch_means(grad_output, patch)
    if means.shape[1] == input_shape[1] == groups:
        on_windows = means * kernel.reshape(1, groups, 1, 1)
    else:
        on_windows = torch.einsum("bgop,goi->bgip", _by_group(means, groups), kernel)
    shape = (*input_shape[:2], *means.shape[2:])
    return _spread(on_windows.reshape(shape), grad_output, input_shape, geometry, patch)


def dilated_input_gradient(
    grad_output: Tensor,
    weight: Tensor,
    input_shape: tuple[int, ...],
    geometry: ConvGeometry,
    patch: int,
) -> Tensor:
    """Input gradient where the dilation spans whole patches: a convolution of patch means."""
    means = patch_means(grad_output, patch)
    steps = (geometry.dilation[0] // patch, geometry.dilation[1] // patch)
    full = F.conv_transpose2d(means, weight, groups=geometry.groups, dilation=steps)
    top = (weight.shape[2] - 1) * steps[0] // 2
    left = (weight.shape[3] - 1) * steps[1] // 2
    on_windows = full[:, :, top : top + means.shape[2], left : left + means.shape[3]]
    return _spread(on_windows, grad_output, input_shape, geometry, patch)


def patch_means(grad_output: Tensor, patch: int) -> Tensor:
    """Mean of each R x R patch, over the positions inside the border."""
    size = (grad_output.shape[2], grad_output.shape[3])
    left, _, top, _ = _margins(size, size, (1, 1), patch)
    return F.avg_pool2d(
        grad_output, patch, padding=(top, left), ceil_mode=True, count_include_pad=False
    )


def _by_group(tensor: Tensor, groups: int) -> Tensor:
    """B x C x P x Q as batch x group x channel of the group x position."""
    grouped: Tensor = tensor.unflatten(1, (groups, -1))
    return grouped.flatten(3)


def _spread(
    on_windows: Tensor,
    grad_output: Tensor,
    input_shape: tuple[int, ...],
    geometry: ConvGeometry,
    patch: int,
) -> Tensor:
    size, outputs = (input_shape[2], input_shape[3]), (grad_output.shape[2], grad_output.shape[3])
    left, _, top, _ = _margins(size, outputs, geometry.stride, patch)
    rows = _window_of(size[0], top, patch * geometry.stride[0], on_windows.shape[2])
    columns = _window_of(size[1], left, patch * geometry.stride[1], on_windows.shape[3])
    framed = F.pad(on_windows, (1, 1, 1, 1))
    spread: Tensor = framed.index_select(2, rows.to(framed.device))
    return spread.index_select(3, columns.to(framed.device))


def _window_of(length: int, before: int, window: int, count: int) -> Tensor:
    """For every position, the number of its window, from 1; 0 or count + 1 outside all windows."""
    return ((torch.arange(length) + before) // window + 1).clamp(0, count + 1)


def _margins(
    size: tuple[int, int], output_size: tuple[int, int], stride: tuple[int, int], patch: int
) -> list[int]:
    """Rows and columns to add (or, if negative, to cut) left, right, top and bottom of an input."""
    margins = []
    for length, outputs, step in zip(
        reversed(size), reversed(output_size), reversed(stride), strict=True
    ):
        missing = ceil(outputs / patch) * patch * step - length
        before = ceil(missing / 2)
        margins += [before, missing - before]
    return margins
