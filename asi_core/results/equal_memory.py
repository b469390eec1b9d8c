"""Who is most accurate within a memory budget, and the fastest of those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asi_core.costs.timeline.records import Timeline, Use
from asi_core.results.outcomes import Outcome
from asi_core.results.verdict import most_accurate


@dataclass(frozen=True, slots=True)
class MemoryPoint:
    """One setting of a method, over its seeds.

    Attributes:
        step_bytes: the most that a whole step needs at once (`step_bytes`).
        timed_seconds: of a step that was timed beside those of other settings; None if the median
            of each run must do.
    """

    outcome: Outcome
    step_bytes: int
    timed_seconds: float | None = None

    @property
    def accuracy(self) -> float:
        """The mean test accuracy, 0 to 1."""
        return self.outcome.measures["accuracy"].mean

    @property
    def seconds(self) -> float:
        """Seconds of a step; measured."""
        if self.timed_seconds is not None:
            return self.timed_seconds
        return self.outcome.measures["step_seconds"].mean


@dataclass(frozen=True, slots=True)
class Winners:
    """The answer for one budget.

    Attributes:
        best: the settings whose accuracy may be the highest, cheapest first; empty if none fits.
        fastest: the one of them with the shortest step; None if none fits.
    """

    budget_bytes: int
    best: tuple[MemoryPoint, ...]
    fastest: MemoryPoint | None


def step_bytes(timeline: Timeline, batch_share: float = 1.0) -> int:
    """The most bytes that a step needs at once: trained weights, gradients, optimiser state, warm
    starts, the batch, what is kept and what operators need within; without frozen weights, which
    nothing writes to.

    Args:
        batch_share: the share of the batch that must be there at once. Of micro-batches that is
            one: each can be made when its turn comes.
    """
    lasting = {use: n for use, n in timeline.base.items() if use != Use.FROZEN_WEIGHTS}
    elsewhere = round((1 - batch_share) * lasting.get(Use.BATCH, 0))
    return sum(lasting.values()) - elsewhere + timeline.peak.nbytes


def winners(points: Sequence[MemoryPoint], budget_bytes: int) -> Winners:
    """The most accurate settings that fit into a budget, ties included, and the fastest of them.

    Args:
        points: settings of one task.
    """
    fitting = {p.outcome.label: p for p in points if p.step_bytes <= budget_bytes}
    tied = most_accurate([point.outcome for point in fitting.values()])
    best = sorted((fitting[o.label] for o in tied), key=lambda point: point.step_bytes)
    fastest = min(best, key=lambda point: point.seconds, default=None)
    return Winners(budget_bytes, tuple(best), fastest)


def best_of_each(points: Iterable[MemoryPoint]) -> dict[str, list[MemoryPoint]]:
    """By method, the settings that are more accurate than all cheaper ones of it, cheapest
    first."""
    found: dict[str, list[MemoryPoint]] = {}
    for point in sorted(points, key=lambda p: (p.step_bytes, -p.accuracy)):
        front = found.setdefault(point.outcome.kind, [])
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return found
