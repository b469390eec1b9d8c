from __future__ import annotations

from itertools import permutations
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from asi_core.linalg.orders import least_work_order, reduction_order

CASES = st.lists(
    st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))),
    min_size=1,
    max_size=5,
)


def multiplies(sizes: list[int], ranks: list[int], order: list[int]) -> int:
    current, work = list(sizes), 0
    for mode in order:
        work += prod(current) * ranks[mode]
        current[mode] = ranks[mode]
    return work


@given(CASES)
def test_no_other_order_takes_fewer_multiplies(case: list[tuple[int, int]]) -> None:
    sizes, ranks = [size for size, _ in case], [rank for _, rank in case]
    modes = list(range(len(case)))
    found = least_work_order(sizes, ranks, modes)
    assert sorted(found) == modes
    least = min(multiplies(sizes, ranks, list(order)) for order in permutations(modes))
    assert multiplies(sizes, ranks, found) == least


@given(CASES)
def test_the_greatest_reduction_comes_first(case: list[tuple[int, int]]) -> None:
    sizes, ranks = [size for size, _ in case], [rank for _, rank in case]
    order = reduction_order(sizes, ranks)
    shares = [ranks[mode] / sizes[mode] for mode in order]
    assert shares == sorted(shares)
    assert sorted(order) == [mode for mode in range(len(case)) if ranks[mode] < sizes[mode]]
