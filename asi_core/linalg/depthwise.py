"""The weight gradient of a depthwise convolution from a Tucker form, as matrix products.

dW[c, k, l] sums gY[b, c, h, w] X[b, c, h + k, w + l] over the batch and the positions. Lifting the
form to the input's size and convolving needs the whole kernel at every position, and libraries are
slow at it for kernels above 3 x 3. But in the form positions enter through two small factors only:
with Z = U_0^T gY and M the core with its channels lifted, G[c, h, w, i, j] = sum_b Z[b, c, h, w]
M[b, c, i, j] is one small product per channel, and dW[c] is G[c] times a matrix that is the same
for all channels: which row of which factor each tap meets at each position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.counting import ceil_div
from asi_core.linalg.tucker import Tucker
from asi_core.linalg.unfolding import memory_order
from asi_core.records import ConvGeometry

# G of one part of the channels is at most Z divided by this.
_SHARE_OF_Z = 2


def depthwise_weight_gradient(
    tucker: Tucker, grad_output: Tensor, weight_shape: tuple[int, ...], geometry: ConvGeometry
) -> Tensor:
    """Weight gradient, C x 1 x Kh x Kw, of a convolution with as many groups as channels.

    Args:
        tucker: of the input; its batch mode has a factor.
        grad_output: B x C x H' x W'.
    """
    channels, _, *taps = weight_shape
    outputs = tuple(grad_output.shape[2:])
    projected, core = _by_channel(grad_output, tucker.factors[0]), _lifted(tucker)
    rows = [
        core.new_ones(()).expand(rank).diag() if factor is None else factor
        for rank, factor in zip(tucker.ranks[2:], tucker.factors[2:], strict=True)
    ]
    before = geometry.padding[::2]
    along = zip(rows, outputs, taps, geometry.stride, before, geometry.dilation, strict=True)
    height, width = (_windows(*each) for each in along)
    # H' x W' x r2 x r3 x Kh x Kw
    of_both = height[:, None, :, None, :, None] * width[None, :, None, :, None, :]
    matrix = of_both.view(-1, taps[0] * taps[1])
    gradient = grad_output.new_empty(channels, taps[0] * taps[1])
    parts = ceil_div(_SHARE_OF_Z * core.shape[1], projected.shape[2])
    size = ceil_div(channels, min(parts, channels))
    each = zip(projected.split(size), core.split(size), gradient.split(size), strict=True)
    for of_output, of_input, found in each:
        torch.mm(torch.bmm(of_output, of_input.transpose(1, 2)).flatten(1), matrix, out=found)
    return gradient.view(weight_shape)


def _by_channel(grad_output: Tensor, batch_factor: Tensor | None) -> Tensor:
    """The output gradient with its batch projected, as C x (H' W') x r0."""
    assert batch_factor is not None
    batch, channels = grad_output.shape[:2]
    first, *order = memory_order(grad_output)
    if first:
        grad_output, order = grad_output.contiguous(), [1, 2, 3]
    rows = grad_output.permute(0, *order).reshape(batch, -1)
    # The many columns as rows: the product with a wide result is half as fast.
    product = rows.T @ batch_factor
    sizes = [grad_output.shape[mode] for mode in order]
    shaped = product.view(*sizes, -1).permute(*(order.index(mode) for mode in (1, 2, 3)), 3)
    return shaped.reshape(channels, -1, product.shape[1])


def _lifted(tucker: Tucker) -> Tensor:
    """The core with its channels lifted, as C x (r2 r3) x r0."""
    core, factor = tucker.core.permute(1, 2, 3, 0), tucker.factors[1]
    rank, height, width, batch = core.shape
    rows = core.reshape(rank, -1)
    lifted = rows if factor is None else factor @ rows
    return lifted.view(-1, height * width, batch)


def _windows(
    rows: Tensor, outputs: int, taps: int, stride: int, before: int, dilation: int
) -> Tensor:
    """Which of the rows each tap meets at each output: outputs x rank x taps, 0 in the padding."""
    span = stride * (outputs - 1) + 1
    behind = max(span + dilation * (taps - 1) - before - len(rows), 0)
    padded = F.pad(rows, (0, 0, before, behind))
    first_rows = range(0, dilation * taps, dilation)
    return torch.stack([padded[row : row + span : stride] for row in first_rows], 2)
