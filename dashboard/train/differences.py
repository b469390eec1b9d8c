"""Accuracy differences between runs after the same number of steps."""

from __future__ import annotations

from dataclasses import dataclass

from asi_core.results.statistics import runs_difference
from dashboard.feed import RunFeed


@dataclass(frozen=True, slots=True)
class Difference:
    """Test accuracies of two runs, 0 to 1, at the latest step at which both were evaluated."""

    step: int
    accuracy: float
    reference: float

    @property
    def points(self) -> float:
        return 100 * (self.accuracy - self.reference)

    def is_tie(self, images: int | None) -> bool:
        """Whether the difference may be chance on a test set of so many images; if their number is
        not known, whether there is none."""
        return runs_difference(self.accuracy, self.reference, images).is_tie


def difference(feed: RunFeed, reference: RunFeed | None) -> Difference | None:
    """A run's difference from another; None without one, or without a common evaluation."""
    if reference is None:
        return None
    known = {row["step"]: row["accuracy"] for row in reference.evaluations}
    common = (row for row in reversed(feed.evaluations) if row["step"] in known)
    if (last := next(common, None)) is None:
        return None
    return Difference(last["step"], last["accuracy"], known[last["step"]])
