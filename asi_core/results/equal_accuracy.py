"""The price (bytes, MACs) at which a method reaches an accuracy, from its Pareto front.

Two methods are compared at the same accuracy, not at the same number of trained layers: the cheaper
one may train more layers and still keep less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of one setting of a method.

    Attributes:
        accuracy: 0 to 1.
        price: for example bytes or multiply-accumulates; positive.
    """

    accuracy: float
    price: float


def frontier(points: Iterable[Reached]) -> list[Reached]:
    """The Pareto front: cheapest first, each more accurate than all before."""
    best: list[Reached] = []
    for point in sorted(points, key=lambda p: (p.price, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def price_of(accuracy: float, points: Iterable[Reached]) -> float | None:
    """The lowest price at which an accuracy (0 to 1) is reached.

    Between two settings of the front it is interpolated, linearly in the price's logarithm. Below
    the cheapest setting's accuracy it is that setting's price; above the highest accuracy, None.
    """
    best = frontier(points)
    if not best or accuracy > best[-1].accuracy:
        return None
    if accuracy <= best[0].accuracy:
        return best[0].price
    above = next(n for n, point in enumerate(best) if point.accuracy >= accuracy)
    low, high = best[above - 1], best[above]
    share = (accuracy - low.accuracy) / (high.accuracy - low.accuracy)
    return exp((1 - share) * log(low.price) + share * log(high.price))
