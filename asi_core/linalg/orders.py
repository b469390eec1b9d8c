"""In which order products with a tensor are made. Without torch: costs need to know it too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf


def reduction_order(sizes: Sequence[int], ranks: Sequence[int]) -> list[int]:
    """The modes below full rank, the one with the greatest reduction first."""
    pairs = enumerate(zip(sizes, ranks, strict=True))
    reduced = [mode for mode, (size, rank) in pairs if rank < size]
    return sorted(reduced, key=lambda mode: ranks[mode] / sizes[mode])


def least_work_order(sizes: Sequence[int], ranks: Sequence[int], modes: Iterable[int]) -> list[int]:
    """`modes` in the order in which projecting on all of them takes fewest multiplies.

    Of a tensor with n numbers, mode i takes n r_i and leaves n r_i / d_i. Two neighbours are better
    exchanged unless r_i / (1 - r_i / d_i) grows, whatever comes before and after them.
    """

    def cost(mode: int) -> float:
        size, rank = sizes[mode], ranks[mode]
        return rank / (1 - rank / size) if rank < size else inf

    return sorted(modes, key=cost)


def uses_gram(size: int, rest: int, rank: int) -> bool:
    """Whether (A A^T) U takes fewer multiplies than A (A^T U): A is size x rest, U size x rank."""
    return size * (rest + rank) < 2 * rest * rank
