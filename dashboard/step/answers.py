"""The page's answer: one sentence and the key numbers, each compared with vanilla."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.figures.step import where
from asi_core.methods import REFERENCE_KIND
from asi_core.units import format_bytes, less_or_more
from dashboard.frame import Kpi
from dashboard.step.controls import PLAIN
from dashboard.step.steps import KnownStep

_REFERENCES = (PLAIN, REFERENCE_KIND)
_HELP = (
    "The most memory that one training step adds at any moment to what was there before: weights, "
    "the batch, optimiser state. What is kept is held from the forward to the backward pass."
)


def reference(known: Sequence[KnownStep]) -> KnownStep | None:
    """Vanilla with plain layers, or else with lean ones; None if neither is shown."""
    shown = {one.step.choice: one for one in known}
    return next((shown[choice] for choice in _REFERENCES if choice in shown), None)


def answer_sentence(known: Sequence[KnownStep]) -> str:
    """The peak of the first step, when and where, and how it compares with vanilla's; `known` has
    at least one step."""
    vanilla = reference(known)
    first = next((one for one in known if one is not vanilla), known[0])
    peak = first.timeline.peak
    opening = f"{_whose(first)} step peaks at {format_bytes(peak.nbytes)} {where(peak.moment)}"
    if vanilla is None or first is vanilla:
        return f"{opening}, and keeps {format_bytes(first.timeline.kept_bytes)} for backward."
    other = vanilla.timeline
    kept = against(first.timeline.kept_bytes, other.kept_bytes)
    return (
        f"{opening}; {vanilla.label.lower()}'s at {format_bytes(other.peak.nbytes)}: "
        f"{against(peak.nbytes, other.peak.nbytes)}. All that it saves for backward is {kept}."
    )


def kpis(known: Sequence[KnownStep]) -> list[Kpi]:
    """The peak of every step, and what it keeps."""
    return [_kpi(one, reference(known)) for one in known]


def against(value: int, base: int) -> str:
    """How `value` compares with vanilla's, such as "4.6x less"."""
    if not value or not base:
        return "nothing" if not value else "more than vanilla's nothing"
    return less_or_more(value, base)


def _kpi(one: KnownStep, vanilla: KnownStep | None) -> Kpi:
    timeline = one.timeline
    peak, kept = timeline.peak, timeline.kept_bytes
    note = f"keeps {format_bytes(kept)}"
    if vanilla is not None and one is not vanilla:
        other = vanilla.timeline
        less = against(peak.nbytes, other.peak.nbytes)
        note = f"{less} · keeps {against(kept, other.kept_bytes)}"
    message = (
        f"{_HELP} {one.label}, {timeline.source}: reached {where(peak.moment)}; "
        f"keeps {format_bytes(kept)}."
    )
    label = f"{one.label} peak ({timeline.source})"
    return Kpi(label, format_bytes(peak.nbytes), note, message)


def _whose(one: KnownStep) -> str:
    return f"{one.label}'{'' if one.label.endswith('s') else 's'}"
