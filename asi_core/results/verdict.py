"""The verdict of a comparison: the cheapest run within a tolerated loss of accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from asi_core.methods import REFERENCE_KIND
from asi_core.records import HEAD_KIND
from asi_core.results.outcomes import Outcome, accuracy_difference
from asi_core.results.statistics import Difference

# Accuracies are float means, which are not exact.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a set of outcomes.

    Attributes:
        reference: the most accurate vanilla outcome; None if there is none.
        chosen: the compressed outcome with the fewest bytes by formula among those within the
            tolerance of the reference, else the cheapest of the most accurate (`most_accurate`);
            None if there is none. Methods without closed form come after all others, by their
            measured bytes; of equal bytes, fewer multiplies win.
        within: whether `chosen` is within the tolerance.
        difference: of the accuracies of `chosen` and `reference`; None without one of them.
        tied: where none is within the tolerance, other outcomes whose accuracy may be that of the
            most accurate one too.
    """

    reference: Outcome | None
    chosen: Outcome | None
    within: bool
    difference: Difference | None = None
    tied: tuple[Outcome, ...] = ()

    def ratio(self, measure: str) -> float | None:
        """The chosen outcome's measure as a multiple of the reference's."""
        if self.reference is None or self.chosen is None:
            return None
        ours, theirs = self.chosen.mean(measure), self.reference.mean(measure)
        return ours / theirs if ours is not None and theirs else None


def judge(outcomes: Sequence[Outcome], tolerance: float) -> Verdict:
    """The verdict on outcomes of one task.

    Args:
        tolerance: allowed loss of accuracy against vanilla, 0 to 1.
    """
    ended = [o for o in outcomes if o.measures.get("accuracy") and o.kind != HEAD_KIND]
    vanilla = [o for o in ended if o.kind == REFERENCE_KIND]
    compressed = [o for o in ended if o.kind != REFERENCE_KIND]
    reference = max(vanilla, key=_accuracy, default=None)
    floor = 0.0 if reference is None else _accuracy(reference) - tolerance - _ROUNDING
    near = [o for o in compressed if reference is not None and _accuracy(o) >= floor]
    found = [min(near, key=price)] if near else most_accurate(compressed)
    if not found:
        return Verdict(reference, None, False)
    chosen, *tied = found
    difference = None if reference is None else accuracy_difference(chosen, reference)
    return Verdict(reference, chosen, bool(near), difference, tuple(tied))


def most_accurate(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The most accurate of outcomes of one task and those that tie with it, cheapest first."""
    ended = [outcome for outcome in outcomes if outcome.measures.get("accuracy")]
    best = max(ended, key=_accuracy, default=None)
    if best is None:
        return []
    return sorted((o for o in ended if o is best or _is_tie(o, best)), key=price)


def price(outcome: Outcome) -> tuple[bool, float, float, float]:
    """A sort key: bytes by formula first, then measured bytes for methods without closed form; of
    equal bytes fewer multiplies, then the higher accuracy."""
    by_formula = outcome.mean("activation_bytes")
    measured = outcome.measures["saved_bytes"].mean
    kept = measured if by_formula is None else by_formula
    macs = outcome.mean("macs")
    return by_formula is None, kept, inf if macs is None else macs, -_accuracy(outcome)


def _is_tie(outcome: Outcome, best: Outcome) -> bool:
    difference = accuracy_difference(outcome, best)
    return difference is not None and difference.is_tie


def _accuracy(outcome: Outcome) -> float:
    return outcome.measures["accuracy"].mean
