"""The page's answer: one sentence and the key numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asi_core.records import HEAD_KIND
from asi_core.results.outcomes import Outcome
from asi_core.results.statistics import Difference, Interval
from asi_core.results.verdict import Verdict
from asi_core.units import (
    DASH,
    THIN_SPACE,
    by_formula,
    format_bytes,
    format_count,
    format_seconds,
    less_or_more,
    signed,
    than_vanilla,
    three_digits,
)
from dashboard.frame import Kpi, percent
from dashboard.plain import plain

# Ties that are named in the answer.
_MOST_NAMED = 3


def sentence(verdict: Verdict, outcomes: Sequence[Outcome], tolerance: float) -> str:
    """The verdict over all completed runs, as plain text."""
    reference, chosen = verdict.reference, verdict.chosen
    if chosen is None:
        return _without_methods(reference)
    reached, label = percent(chosen.measures["accuracy"].mean), chosen.label
    if reference is None:
        size = chosen.mean("activation_bytes")
        kept = "" if size is None else f" at {format_bytes(size)}"
        return (
            f"The most accurate run is {label}, with {reached}{kept}{_ties(verdict)}; there is no "
            "vanilla run of the same task to compare it with."
        )
    target = f"vanilla ({percent(reference.measures['accuracy'].mean)})"
    points = f"{three_digits(100 * tolerance)} point{'s' if tolerance != 0.01 else ''}"
    if not verdict.within:
        return (
            f"No run comes within {points} of {target}: the nearest is {label}, {reached}, "
            f"{difference_words(verdict.difference)}{_ties(verdict)}."
        )
    message = (
        f"The cheapest run within {points} of {target} is {label}: "
        f"{_cheapness(chosen, reference)}, and reaches {reached}, "
        f"{difference_words(verdict.difference)}"
    )
    return message + _baseline(reference, outcomes, tolerance)


def difference_words(difference: Difference | None) -> str:
    """Such as "a tie with vanilla (−0.6 points, 95 % interval −2.9 to +1.7)"."""
    if difference is None:
        return "not comparable with vanilla"
    points = signed_points(difference.value)
    if difference.interval is None:
        return f"{points} points from vanilla, without an interval"
    low, high = map(signed_points, (difference.interval.low, difference.interval.high))
    found = f"({points} points, 95{THIN_SPACE}% interval {low} to {high})"
    if difference.is_tie:
        return f"a tie with vanilla {found}"
    return f"{'better' if difference.value > 0 else 'worse'} than vanilla {found}"


def signed_points(difference: float) -> str:
    """A difference of accuracies in percentage points."""
    return signed(100 * difference)


def _ties(verdict: Verdict) -> str:
    """The outcomes that may be as accurate as the chosen one, which keeps least of them."""
    if not verdict.tied:
        return ""
    names = [outcome.label for outcome in verdict.tied[:_MOST_NAMED]]
    others = len(verdict.tied) - len(names)
    more = f" and {others} more" if others else ""
    return f" (the cheapest of a tie with {', '.join(names)}{more})"


def _cheapness(chosen: Outcome, reference: Outcome) -> str:
    """An outcome's bytes against the reference's: by formula if there is one, else measured."""
    kept, full = chosen.mean("activation_bytes"), reference.mean("activation_bytes")
    if kept is not None and full is not None:
        return _compared("keeps", kept, full)
    measured = (outcome.measures["saved_bytes"].mean for outcome in (chosen, reference))
    return f"it has no closed form; as measured, {_compared('saves', *measured)}"


def _compared(verb: str, ours: float, theirs: float) -> str:
    return (
        f"it {verb} {format_bytes(ours)} where vanilla {verb} {format_bytes(theirs)}, "
        f"{less_or_more(ours, theirs)}"
    )


def kpis(verdict: Verdict) -> list[Kpi]:
    """The chosen outcome's numbers, each compared with vanilla."""
    chosen = verdict.chosen
    if chosen is None:
        return []
    known = chosen.measures
    return [
        Kpi(
            "Test accuracy",
            percent(known["accuracy"].mean),
            _points(verdict),
            f"{plain(chosen.label)}, measured on the test images; {seeds_note(chosen)}."
            f"{_difference_note(verdict)}{_balanced(chosen)}",
        ),
        Kpi(
            "Activation memory",
            *_counted(verdict, chosen, "activation_bytes", format_bytes),
            "The trained layers' inputs as they are kept, by formula.",
        ),
        Kpi(
            "Saved for backward",
            format_bytes(known["saved_bytes"].mean),
            _against_vanilla(verdict, "saved_bytes"),
            "Measured: all bytes that PyTorch saves for backward in the trained part, including "
            "the inputs of activation functions and normalisations.",
        ),
        Kpi(
            "Cost per step",
            *_counted(verdict, chosen, "macs", lambda count: format_count(count, "MACs")),
            "Multiply-accumulates of the trained layers, by formula (exact convention).",
        ),
        Kpi(
            "Step time",
            format_seconds(known["step_seconds"].mean),
            _against_vanilla(verdict, "step_seconds"),
            "Measured: the median step of the trained part, on the machine of the run.",
        ),
    ]


def _counted(
    verdict: Verdict, chosen: Outcome, measure: str, written: Callable[[float], str]
) -> tuple[str, str | None]:
    """A number by formula and its ratio to vanilla's; a dash and a note without closed form."""
    value = chosen.mean(measure)
    if value is None:
        return DASH, by_formula(value, written)
    return written(value), _against_vanilla(verdict, measure)


def seeds_note(outcome: Outcome) -> str:
    """The number of seeds that a mean is over, and their standard deviation."""
    accuracy, interval = outcome.measures["accuracy"], outcome.accuracy_interval
    between = "" if interval is None else f", {interval_words(interval)}"
    if accuracy.deviation is None:
        return f"one seed{between}"
    points = three_digits(100 * accuracy.deviation)
    return f"mean of {accuracy.count} seeds, standard deviation {points} points{between}"


def interval_words(interval: Interval) -> str:
    """Such as "95 % interval 81.2 to 85.6 %"."""
    low, high = 100 * max(interval.low, 0), percent(min(interval.high, 1))
    return f"95{THIN_SPACE}% interval {low:.1f} to {high}"


def _difference_note(verdict: Verdict) -> str:
    if verdict.difference is None:
        return ""
    how = (
        f"paired over {verdict.difference.pairs} seeds"
        if verdict.difference.pairs
        else "from the size of the test set"
    )
    return f" It is {difference_words(verdict.difference)}, {how}."


def _balanced(outcome: Outcome) -> str:
    balanced = outcome.mean("balanced_accuracy")
    if balanced is None:
        return ""
    return (
        f" Balanced accuracy, the mean of the per-class accuracies, is {percent(balanced)}: some "
        "classes have many more test images than others."
    )


def _without_methods(reference: Outcome | None) -> str:
    if reference is None:
        return "No run of this task has been completed yet: the answer comes with the first."
    reached = percent(reference.measures["accuracy"].mean)
    return f"Vanilla reaches {reached}; no other method has been completed on this task yet."


def _baseline(reference: Outcome, outcomes: Sequence[Outcome], tolerance: float) -> str:
    """A warning if the linear probe is good enough, so that no layer needs to be trained."""
    heads = [o.mean("accuracy") for o in outcomes if o.kind == HEAD_KIND]
    best = max((value for value in heads if value is not None), default=None)
    if best is None or best < reference.measures["accuracy"].mean - tolerance:
        return "."
    return f"; but the linear probe reaches {percent(best)} too, and keeps nothing."


def _points(verdict: Verdict) -> str | None:
    if verdict.difference is None:
        return None
    tie = ", a tie" if verdict.difference.is_tie else ""
    return f"{signed_points(verdict.difference.value)} points{tie}"


def _against_vanilla(verdict: Verdict, measure: str) -> str | None:
    ratio = verdict.ratio(measure)
    return against_vanilla(ratio) if ratio else None


def against_vanilla(ratio: float) -> str:
    """A ratio to vanilla in words."""
    return than_vanilla(ratio, 1)
