"""The verdict of a comparison: the cheapest run within a tolerated loss of accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asi_core.methods import REFERENCE_KIND
from asi_core.records import HEAD_KIND
from asi_core.results.outcomes import Outcome

# Accuracies are float means, which are not exact.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a set of outcomes.

    Attributes:
        reference: the most accurate vanilla outcome; None if there is none.
        chosen: the compressed outcome with the fewest bytes by formula among those within the
            tolerance of the reference, else the most accurate; None if there is none. Methods
            without closed form come after all others, by their measured bytes.
        within: whether `chosen` is within the tolerance.
    """

    reference: Outcome | None
    chosen: Outcome | None
    within: bool

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
    if near:
        return Verdict(reference, min(near, key=_price), True)
    return Verdict(reference, max(compressed, key=_accuracy, default=None), False)


def _price(outcome: Outcome) -> tuple[bool, float, float]:
    """A sort key: bytes by formula first, then measured bytes for methods without closed form."""
    by_formula = outcome.mean("activation_bytes")
    measured = outcome.measures["saved_bytes"].mean
    kept = measured if by_formula is None else by_formula
    return by_formula is None, kept, -_accuracy(outcome)


def _accuracy(outcome: Outcome) -> float:
    return outcome.measures["accuracy"].mean
