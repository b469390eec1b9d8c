"""Extracting small pictures from a layer's input, before and after compression."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from torch import Tensor

from asi_core import linalg
from asi_core.training.pictures import LONGEST_SIDE, LayerPictures, pack

_PICTURES = 6


def input_pictures(
    x: Tensor, channel_mode: int, factors: Sequence[Tensor | None] | None
) -> LayerPictures | None:
    """The first image's channels of highest energy, before and after a projection.

    Args:
        x: batch x channel x height x width, or batch x ... x features.
        channel_mode: the mode of the channels (features).
        factors: orthonormal, one per mode, None for a mode that is not projected; None if nothing
            is projected.

    Returns:
        None for an input that has no positions, or more than two modes of them.
    """
    if x.dim() not in (3, 4):
        return None
    first = x[:1].movedim(channel_mode, 1)[0]
    grid = _has_grid(tuple(first.shape[1:]))
    count = _PICTURES if grid else LONGEST_SIDE
    energy = first.float().flatten(1).square().sum(1)
    channels = energy.topk(min(count, len(energy))).indices
    before = _thinned(_laid_out(first[channels]))
    after = None
    if factors is not None:
        rebuilt = _rebuilt(x, channel_mode, factors, channels)
        after = pack(_thinned(_laid_out(rebuilt)).flatten().tolist())
    return LayerPictures(
        channels=tuple(channels.tolist()),
        size=(before.shape[1], before.shape[2]),
        before=pack(before.flatten().tolist()),
        after=after,
    )


def _rebuilt(
    x: Tensor, channel_mode: int, factors: Sequence[Tensor | None], channels: Tensor
) -> Tensor:
    """`channels` of the first image after the projection onto all factors.

    Only the first image is rebuilt: the batch mode, which mixes images, comes first.
    """
    batch = factors[0]
    # Two products: a row of the projector, then all images combined by it.
    image = x[:1] if batch is None else linalg.unfolding.mode_product(x, batch[:1] @ batch.T, 0)
    for mode, factor in enumerate(factors):
        if mode and factor is not None:
            core = linalg.unfolding.mode_product(image, factor.T, mode)
            image = linalg.unfolding.mode_product(core, factor, mode)
    rebuilt: Tensor = image.movedim(channel_mode, 1)[0][channels]
    return rebuilt


def _has_grid(positions: tuple[int, ...]) -> bool:
    return len(positions) == 2 or _class_tokens(positions[0]) is not None


def _class_tokens(tokens: int) -> int | None:
    """Number of tokens before those that form a square: 0, 1 (a class token) or None."""
    return next((extra for extra in (0, 1) if isqrt(tokens - extra) ** 2 == tokens - extra), None)


def _laid_out(slices: Tensor) -> Tensor:
    """Channels x positions as pictures x height x width."""
    if slices.dim() == 3:
        return slices
    extra = _class_tokens(slices.shape[1])
    if extra is None:
        return slices.T[None]
    side = isqrt(slices.shape[1] - extra)
    return slices[:, extra:].reshape(len(slices), side, side)


def _thinned(pictures: Tensor) -> Tensor:
    """Every n-th row and column, so that no side exceeds the limit."""
    step = -(-max(pictures.shape[1:]) // LONGEST_SIDE)
    thinned: Tensor = pictures[:, ::step, ::step]
    return thinned
