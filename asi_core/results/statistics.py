"""What chance may have to do with an accuracy: intervals, and differences that may be ties.

Accuracies are shares from 0 to 1. Intervals have a confidence of 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, lgamma, log, sqrt
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two accuracies, with what is known of its chance.

    Attributes:
        interval: None if it is not known.
        pairs: seeds that both have, over which the interval is; 0 for single runs, whose interval
            is from the size of the test set.
    """

    value: float
    interval: Interval | None
    pairs: int = 0

    @property
    def is_tie(self) -> bool:
        """Whether the difference may be chance; without an interval, whether there is none."""
        return self.value == 0 if self.interval is None else 0 in self.interval


def share_interval(share: float, count: int) -> Interval:
    """Wilson's score interval of a share among `count` independent images.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).

    Args:
        count: at least 1.
    """
    z = _normal_quantile()
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    # Rounding must not exclude the share itself.
    return Interval(min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's t interval of the mean of independent values; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = t_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(mean - half, mean + half)


def seeds_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """The mean difference over the seeds that both have, paired; None for fewer than two.

    Runs of one seed share the order of images and the initial classifier, so that differences
    spread less than accuracies do.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    if len(seeds) < 2:
        return None
    return Difference(fmean(differences), mean_interval(differences), len(seeds))


def runs_difference(ours: float, theirs: float, count: int | None) -> Difference:
    """The difference of two runs on one test set of `count` images; None if that is not known.

    The interval is Newcombe's for independent samples. On the same images errors mostly coincide,
    so it is wider than it had to be if each image's result were known.

    Source: Newcombe, "Interval Estimation for the Difference Between Independent Proportions"
    (1998), method 10.
    """
    if not count:
        return Difference(ours - theirs, None)
    a, b = share_interval(ours, count), share_interval(theirs, count)
    below = sqrt((ours - a.low) ** 2 + (b.high - theirs) ** 2)
    above = sqrt((a.high - ours) ** 2 + (theirs - b.low) ** 2)
    return Difference(ours - theirs, Interval(ours - theirs - below, ours - theirs + above))


@lru_cache(maxsize=1)
def _normal_quantile() -> float:
    return NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@lru_cache(maxsize=256)
def t_quantile(freedom: int) -> float:
    """The value that |t| of so many degrees of freedom exceeds with probability 1 - CONFIDENCE."""
    low, high = 0.0, 1e4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # P(|t| > x) is the incomplete beta function at freedom / (freedom + x^2).
        tail = _incomplete_beta(freedom / (freedom + middle * middle), freedom / 2, 0.5)
        low, high = (middle, high) if tail > 1 - CONFIDENCE else (low, middle)
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x)) / a
    fraction = 0.0
    for step in range(_STEPS, 0, -1):
        fraction = _beta_coefficient(step, x, a, b) / (1 + fraction)
    return front / (1 + fraction)


def _beta_coefficient(step: int, x: float, a: float, b: float) -> float:
    m = step // 2
    if step % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
