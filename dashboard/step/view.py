"""The answer, the figure and the table of the steps that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asi_core.figures.step import plot_step, where
from asi_core.units import format_bytes
from dashboard.drawings import drawings
from dashboard.frame import answer, figure, kpi_row
from dashboard.step.answers import answer_sentence, kpis
from dashboard.step.steps import KnownStep, Step

_CAPTION = (
    "Memory in use at each operator of a step, stacked by use; backward passes are shaded, and the "
    "diamond is the peak."
)
# Smallest difference of the two peaks that is reported, as a share of the measured one.
_TOLERANCE = 0.05
_SOURCES = {
    "formula": "By formula",
    "measured": "Measured on this machine",
    "shipped": "Measured where the app's examples were made",
}
_BASES = {
    False: "Weights, the batch, optimiser state and warm starts, which are there before, are left "
    "out.",
    True: "Grey is what was there before the step.",
}


def shown_steps(
    steps: Sequence[Step],
    formula: Mapping[str, KnownStep],
    measured: Mapping[str, KnownStep],
    *,
    prefers_measured: bool,
) -> list[KnownStep]:
    """For each step its timeline from the preferred source, or else from the other, if any."""
    first, then = (measured, formula) if prefers_measured else (formula, measured)
    found = (first.get(step.label) or then.get(step.label) for step in steps)
    return [one for one in found if one is not None]


def head(known: Sequence[KnownStep]) -> None:
    """The answer and the key numbers."""
    answer(answer_sentence(known))
    kpi_row(kpis(known))


def picture(known: Sequence[KnownStep], *, with_base: bool) -> None:
    """The figure, and a caption that says what is formula and what is measured."""
    timelines = {one.label: one.timeline for one in known}
    key = ("step", *((one.label, one.job) for one in known), with_base)
    figure(
        drawings.get(key, lambda: plot_step(timelines, with_base=with_base)),
        key="step-memory",
        caption=f"{_sources(known)} {_CAPTION} {_BASES[with_base]}{_of_many(known)}",
    )


def tell_missing(steps: Sequence[Step], known: Sequence[KnownStep]) -> None:
    """Why steps whose ranks depend on the images have no formula, if there are any."""
    depending = [step for step in steps if step.formula_spec is None]
    if not depending:
        return
    there = {one.label for one in known}
    missing = [step.label for step in depending if step.label not in there]
    named = ", ".join(step.label for step in depending)
    way = f"measure {', '.join(missing)} below, or " if missing else "it is measured; "
    verb = "choose" if missing else "for a formula, choose"
    st.caption(
        f"{named}: the ranks depend on the images, so there is no formula of the step: "
        f"{way}{verb} “One rank” under “Ranks from”."
    )


def tell_differences(formula: Mapping[str, KnownStep], measured: Mapping[str, KnownStep]) -> None:
    """Where a measured peak differs from the formula's, and what is inside operators there."""
    for label in [label for label in formula if label in measured]:
        computed, found = (source[label].timeline.peak for source in (formula, measured))
        if abs(found.nbytes - computed.nbytes) <= _TOLERANCE * found.nbytes:
            continue
        inside = format_bytes(found.moment.inside_bytes)
        st.warning(
            f"{label}: the measured peak is {format_bytes(found.nbytes)}, the formula's is "
            f"{format_bytes(computed.nbytes)}. {inside} of the measured one are inside "
            f"{found.moment.operator} {where(found.moment)}, for which formulas have rules of "
            "thumb: trust the measurement."
        )


def _of_many(known: Sequence[KnownStep]) -> str:
    """A sentence about micro-batches that the formula leaves out."""
    specs = [one.step.spec for one in known if one.timeline.source == "formula"]
    if not any(spec.batch_size > 2 * spec.pass_size for spec in specs):
        return ""
    return " The formula draws two of the micro-batches: the others need no more."


def _sources(known: Sequence[KnownStep]) -> str:
    """What is by formula, measured here, and measured for the examples."""
    by_source: dict[str, list[str]] = {}
    for one in known:
        source = "shipped" if one.is_shipped else one.timeline.source
        by_source.setdefault(_SOURCES[source], []).append(one.label)
    if len(by_source) == 1:
        return f"{next(iter(by_source))}."
    return " ".join(f"{source}: {', '.join(names)}." for source, names in by_source.items())
