"""The order in which products with a tensor are computed. Without torch: costs use it too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf


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
