"""What a method needs for an accuracy, read off curves of what different settings came to.

Two methods are compared at the same accuracy, not at the same number of trained layers: the cheaper
one may train more layers and still keep less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True)
class Reached:
    """One setting of a method, and what came of it.

    Attributes:
        accuracy: 0 to 1.
        price: what it took, such as bytes or multiply-accumulates; positive.
    """

    accuracy: float
    price: float


def frontier(points: Iterable[Reached]) -> list[Reached]:
    """The settings that no other one beats: cheapest first, each more accurate than all before."""
    best: list[Reached] = []
    for point in sorted(points, key=lambda p: (p.price, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def price_of(accuracy: float, points: Iterable[Reached]) -> float | None:
    """The least that reaches an accuracy, 0 to 1.

    Between two settings of the frontier it is interpolated, linearly in the price's logarithm. The
    cheapest setting's price stands for all accuracies below it; None above the most accurate.
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
