"""Which products with a tensor are computed, in which order. Without torch: costs use it too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, prod

from asi_core.counting import ceil_div

# A late factor is iterated on one of this many parts of the batch, if a part has at least twice as
# many columns as the factor: fewer would not determine it.
_LATE_PARTS, _COLUMNS_PER_RANK = 4, 2
# Up to this many taps, libraries convolve channel by channel faster than products are.
_FEW_TAPS = 9
# Captured energy is watched on one of this many parts of the batch.
WATCHED_PARTS = 8
# Leading eigenvectors come from Krylov subspaces that grow by blocks of this many vectors, ...
KRYLOV_BLOCK = 16
# ... if the matrix has at least this side, and up to this part of it.
_LEAST_SIDE, _KRYLOV_PART = 256, 3
_KRYLOV_PER_RANK = 3


def reduction_order(sizes: Sequence[int], ranks: Sequence[int]) -> list[int]:
    """The modes below full rank, the greatest reduction first."""
    pairs = enumerate(zip(sizes, ranks, strict=True))
    reduced = [mode for mode, (size, rank) in pairs if rank < size]
    return sorted(reduced, key=lambda mode: ranks[mode] / sizes[mode])


def least_work_order(sizes: Sequence[int], ranks: Sequence[int], modes: Iterable[int]) -> list[int]:
    """`modes` in the order in which projecting on all of them takes the fewest multiplies.

    For a tensor with n numbers, mode i takes n r_i and leaves n r_i / d_i. Exchanging two
    neighbours is an improvement unless r_i / (1 - r_i / d_i) grows, independent of the others.
    """

    def cost(mode: int) -> float:
        size, rank = sizes[mode], ranks[mode]
        return rank / (1 - rank / size) if rank < size else inf

    return sorted(modes, key=cost)


def uses_gram(size: int, rest: int, rank: int) -> bool:
    """Whether (A A^T) U takes fewer multiplies than A (A^T U): A is size x rest, U size x rank."""
    return size * (rest + rank) < 2 * rest * rank


def late_parts(sizes: Sequence[int], rank: int, mode: int) -> int:
    """Into how many parts a batch is divided at most, to iterate a late factor on one of them."""
    columns = prod(sizes) // sizes[mode]
    return _LATE_PARTS if columns >= _LATE_PARTS * _COLUMNS_PER_RANK * rank else 1


def part_count(batch: int, most: int) -> int:
    """The number of parts: at most `most`, equal in size but for the last."""
    return ceil_div(batch, ceil_div(batch, most))


def part_of_batch(batch: int, most: int, turn: int) -> slice:
    """The part whose turn it is."""
    size = ceil_div(batch, most)
    begin = turn % part_count(batch, most) * size
    return slice(begin, min(begin + size, batch))


def depthwise_by_windows(
    sizes: Sequence[int],
    ranks: Sequence[int],
    output_shape: Sequence[int],
    weight_shape: Sequence[int],
    groups: int,
) -> bool:
    """Whether a weight gradient from a Tucker form is cheaper by `linalg.depthwise` than by lifting
    the form and convolving: for depthwise layers with a large kernel, whose batch is reduced."""
    is_depthwise = groups == sizes[1] == weight_shape[0]
    if not is_depthwise or ranks[0] >= sizes[0] or prod(weight_shape[2:]) <= _FEW_TAPS:
        return False
    return window_work(sizes, ranks, output_shape, weight_shape) <= lifting_work(
        sizes, ranks, output_shape, weight_shape, groups
    )


def window_work(
    sizes: Sequence[int],
    ranks: Sequence[int],
    output_shape: Sequence[int],
    weight_shape: Sequence[int],
) -> int:
    """Multiplies of a depthwise weight gradient in matrix products, after the batch's projection:
    the channels lifted, the products over the batch, and those with the windows."""
    channels, positions = sizes[1], prod(output_shape[2:])
    core, small, taps = prod(ranks), ranks[2] * ranks[3], prod(weight_shape[2:])
    lifted = 0 if ranks[1] == channels else core * channels
    each = positions * small
    return lifted + channels * each * ranks[0] + each * taps + channels * each * taps


def lifting_work(
    sizes: Sequence[int],
    ranks: Sequence[int],
    output_shape: Sequence[int],
    weight_shape: Sequence[int],
    groups: int,
) -> int:
    """Multiplies of a convolution's weight gradient after the batch's projection: the form lifted
    to the input's height and width, and in groups to its channels, and the convolution."""
    work, lifted = 0, list(ranks)
    for mode in (2, 3, 1) if groups > 1 else (2, 3):
        if lifted[mode] != sizes[mode]:
            work += prod(lifted) * sizes[mode]
            lifted[mode] = sizes[mode]
    outputs, taps = prod(output_shape[1:]), prod(weight_shape[2:])
    work += lifted[0] * outputs * (lifted[1] // groups) * taps
    if groups == 1 and lifted[1] != sizes[1]:
        work += weight_shape[0] * lifted[1] * taps * sizes[1]
    return work


def krylov_sizes(side: int, rank: int) -> list[int]:
    """Sizes of the Krylov subspaces tried one after the other for the `rank` leading eigenvectors
    of a matrix with this side; none where decomposing all of it takes less time."""
    if side < _LEAST_SIDE:
        return []
    blocks, sizes = 2, []
    while (size := blocks * KRYLOV_BLOCK) <= side // _KRYLOV_PART:
        if size > rank:
            sizes.append(size)
        blocks += max(1, blocks // 2)
    return sizes


def usual_krylov_size(side: int, rank: int) -> int | None:
    """The size of the subspace that usually suffices; None where all of it is decomposed.

    For inputs of convolutions whose ranks explain 80 % of their energy.
    """
    wanted = _KRYLOV_PER_RANK * rank + 2 * KRYLOV_BLOCK
    return next((size for size in krylov_sizes(side, rank) if size >= wanted), None)
