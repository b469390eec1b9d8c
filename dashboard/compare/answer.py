"""The page's answer: one sentence and the numbers that matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asi_core.records import HEAD_KIND
from asi_core.results.outcomes import Outcome
from asi_core.results.verdict import Verdict
from asi_core.units import (
    DASH,
    THIN_SPACE,
    by_formula,
    format_bytes,
    format_count,
    format_seconds,
    three_digits,
)
from dashboard.frame import Kpi


def sentence(verdict: Verdict, outcomes: Sequence[Outcome], tolerance: float) -> str:
    """The verdict in words, as far as runs have ended."""
    reference, chosen = verdict.reference, verdict.chosen
    if chosen is None:
        return _without_methods(reference)
    reached = percent(chosen.measures["accuracy"].mean)
    if reference is None:
        size = chosen.mean("activation_bytes")
        kept = "" if size is None else f" at {format_bytes(size)}"
        return (
            f"The most accurate run is {chosen.label}, with {reached}{kept}; without a vanilla "
            "run of the same task there is nothing to set it against."
        )
    target = f"vanilla ({percent(reference.measures['accuracy'].mean)})"
    points = f"{three_digits(100 * tolerance)} point{'s' if tolerance != 0.01 else ''}"
    if not verdict.within:
        return (
            f"No run comes within {points} of {target}: the nearest is {chosen.label}, {reached}."
        )
    message = (
        f"The cheapest run within {points} of {target} is {chosen.label}: "
        f"{_cheapness(chosen, reference)}, and reaches {reached}"
    )
    return message + _floor(reference, outcomes, tolerance)


def _cheapness(chosen: Outcome, reference: Outcome) -> str:
    """What an outcome keeps, by formula if it has one, against the reference's."""
    kept, full = chosen.mean("activation_bytes"), reference.mean("activation_bytes")
    if kept is not None and full is not None:
        return _set_against("keeps", kept, full)
    measured = (outcome.measures["saved_bytes"].mean for outcome in (chosen, reference))
    return f"it has no closed form; as measured, {_set_against('saves', *measured)}"


def _set_against(verb: str, ours: float, theirs: float) -> str:
    times, word = (theirs / ours, "less") if ours <= theirs else (ours / theirs, "more")
    return (
        f"it {verb} {format_bytes(ours)} where vanilla {verb} {format_bytes(theirs)}, "
        f"{three_digits(times)}{THIN_SPACE}× {word}"
    )


def kpis(verdict: Verdict) -> list[Kpi]:
    """The chosen outcome's numbers, each against vanilla."""
    chosen = verdict.chosen
    if chosen is None:
        return []
    known = chosen.measures
    return [
        Kpi(
            "Test accuracy",
            percent(known["accuracy"].mean),
            _points(verdict),
            f"{chosen.label}, measured on the test images; {seeds_note(chosen)}. The difference is "
            f"to vanilla.{_balanced(chosen)}",
        ),
        Kpi(
            "Activation memory",
            *_counted(verdict, chosen, "activation_bytes", format_bytes),
            "The trained layers' inputs as they are kept, by formula.",
        ),
        Kpi(
            "All that is saved",
            format_bytes(known["saved_bytes"].mean),
            _times(verdict, "saved_bytes"),
            "Measured: all that PyTorch saves for backward in the trained part, the inputs of "
            "activation functions and normalisations included.",
        ),
        Kpi(
            "MACs a step",
            *_counted(verdict, chosen, "macs", lambda count: format_count(count, "")),
            "Multiply-accumulates of the trained layers, by formula (exact convention).",
        ),
        Kpi(
            "Time of a step",
            format_seconds(known["step_seconds"].mean),
            _times(verdict, "step_seconds"),
            "Measured: the median step of the trained part, on the machine of the run.",
        ),
    ]


def _counted(
    verdict: Verdict, chosen: Outcome, measure: str, written: Callable[[float], str]
) -> tuple[str, str | None]:
    """A number by formula and how it stands against vanilla's; or that there is none."""
    value = chosen.mean(measure)
    if value is None:
        return DASH, by_formula(value, written)
    return written(value), _times(verdict, measure)


def percent(share: float) -> str:
    """A share as a percentage with one decimal place."""
    return f"{100 * share:.1f}{THIN_SPACE}%"


def seeds_note(outcome: Outcome) -> str:
    """How many seeds a mean is over, and how far they are apart."""
    accuracy = outcome.measures["accuracy"]
    if accuracy.deviation is None:
        return "one seed"
    points = three_digits(100 * accuracy.deviation)
    return f"mean of {accuracy.count} seeds, standard deviation {points} points"


def _balanced(outcome: Outcome) -> str:
    balanced = outcome.mean("balanced_accuracy")
    if balanced is None:
        return ""
    return (
        f" Balanced accuracy, the mean of the classes' own, is {percent(balanced)}: some classes "
        "have many more test images than others."
    )


def _without_methods(reference: Outcome | None) -> str:
    if reference is None:
        return "No run of this task has been completed yet: the answer comes with the first."
    reached = percent(reference.measures["accuracy"].mean)
    return f"Vanilla reaches {reached}; no other method has been completed on this task yet."


def _floor(reference: Outcome, outcomes: Sequence[Outcome], tolerance: float) -> str:
    """A warning where the new classifier alone would do: layers need not be trained then."""
    heads = [o.mean("accuracy") for o in outcomes if o.kind == HEAD_KIND]
    best = max((value for value in heads if value is not None), default=None)
    if best is None or best < reference.measures["accuracy"].mean - tolerance:
        return "."
    return f"; but the new classifier alone reaches {percent(best)} too, and keeps nothing."


def _points(verdict: Verdict) -> str | None:
    if verdict.reference is None or verdict.chosen is None:
        return None
    lost = verdict.chosen.measures["accuracy"].mean - verdict.reference.measures["accuracy"].mean
    return f"{100 * lost:+.1f} points".replace("-", "−")


def _times(verdict: Verdict, measure: str) -> str | None:
    ratio = verdict.ratio(measure)
    if not ratio:
        return None
    if ratio < 1:
        return f"{three_digits(1 / ratio)}{THIN_SPACE}× less than vanilla"
    return f"{three_digits(ratio)}{THIN_SPACE}× vanilla"
