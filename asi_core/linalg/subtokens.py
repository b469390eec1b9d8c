"""Sub-tokens: the channels at each position, cut into pieces of one length.

A piece is kept as its coefficient along one vector of unit norm, the same for all pieces.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.linalg.gradients import weight_gradient
from asi_core.linalg.unfolding import mode_product
from asi_core.records import Geometry


def mean_direction(x: Tensor, length: int, mode: int, groups: int) -> Tensor | None:
    """The mean of all sub-tokens of `x` divided by its norm; None if it has no direction.

    Args:
        length: of a sub-token.
        mode: of the channels, which are cut.
        groups: of channels; no sub-token reaches over two of them.
    """
    pieces = _pieces(x, length, mode, groups)
    others = [m for m in range(pieces.dim()) if m != mode + 1]
    mean = pieces.mean(others)
    norm = torch.linalg.vector_norm(mean)
    return mean / norm if bool(norm.isfinite()) and bool(norm > 0) else None


def coefficients(x: Tensor, vector: Tensor, mode: int, groups: int) -> Tensor:
    """The inner product of each sub-token with `vector`.

    Returns:
        `x` with one number for each sub-token in place of its channels. Channels that do not fill
        their last sub-token are completed with zeros.
    """
    pieces = _pieces(x, len(vector), mode, groups)
    return mode_product(pieces, vector[None], mode + 1).squeeze(mode + 1)


def subtoken_gradient(
    kept: Tensor,
    vector: Tensor,
    grad_output: Tensor,
    weight_shape: tuple[int, ...],
    geometry: Geometry,
) -> Tensor:
    """Weight gradient of a layer of whose input `coefficients` are known.

    Returns:
        exactly the gradient that the rebuilt input would give, which is not rebuilt.
    """
    outputs, channels, *taps = weight_shape
    pieces = kept.shape[geometry.channel_mode(kept.dim())] // geometry.groups
    reduced = weight_gradient(kept, grad_output, (outputs, pieces, *taps), geometry)
    lifted = reduced.unsqueeze(2) * vector.view(-1, *[1] * len(taps))
    return lifted.flatten(1, 2)[:, :channels]


def _pieces(x: Tensor, length: int, mode: int, groups: int) -> Tensor:
    """`x` with the channels as sub-tokens x length."""
    own = x.shape[mode] // groups
    if missing := -own % length:
        after = [0, 0] * (x.dim() - 1 - mode)
        grouped = x.unflatten(mode, (groups, own))
        x = F.pad(grouped, [*after, 0, missing]).flatten(mode, mode + 1)
    return cast(Tensor, x.unflatten(mode, (-1, length)))
