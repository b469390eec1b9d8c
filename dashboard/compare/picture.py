"""The Pareto view: accuracy against what it costs. Points that are selected open below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import streamlit as st

from asi_core.figures.pareto import ParetoRow, plot_pareto
from asi_core.figures.report import figure_page
from asi_core.figures.style import Figure
from asi_core.results.outcomes import Outcome
from asi_core.units import (
    KIB,
    MIB,
    THIN_SPACE,
    by_formula,
    format_bytes,
    format_count,
    format_seconds,
    three_digits,
)
from dashboard.compare.answer import percent, seeds_note
from dashboard.compare.controls import View
from dashboard.compare.selection import select_points
from dashboard.frame import URL
from dashboard.live_chart import live_chart
from dashboard.plain import plain

CAPTION = (
    "Test accuracy, step time and all that is saved are measured; activation memory (the trained "
    "layers' inputs as they are kept) and multiply-accumulates are formulas. Dim points are "
    "dominated: another run is at least as accurate for no more. Bars are standard deviations over "
    "seeds, the dotted line is the new classifier alone. Step times are of each run's machine."
)


class Axis(NamedTuple):
    """A cost: its measure, what the axis says, and the unit with its size in base units."""

    measure: str
    title: str
    unit: str
    scale: float


AXES = {
    "Activation memory": Axis("activation_bytes", "activation memory (formula)", "KiB", KIB),
    "All that is saved": Axis("saved_bytes", "all saved for backward (measured)", "MiB", MIB),
    "Multiplies": Axis("macs", "cost of a step (formula)", "GMACs", 1e9),
    "Step time": Axis("step_seconds", "time of a step (measured)", "ms", 1e-3),
}


def pareto(view: View, reference: Outcome | None) -> None:
    """Draw the picture with the choice of its axis."""
    axis = AXES[
        st.segmented_control(
            "Against",
            list(AXES),
            default="Activation memory",
            required=True,
            key="against",
            help="What a run costs: the horizontal axis of the picture.",
            **URL,
        )
    ]
    plot = pareto_figure(view.outcomes, reference, axis)
    if not plot.data:
        st.info(plain(_why_empty(view.outcomes, axis)))
        return
    live_chart(plot, key="pareto", on_select=select_points)
    if missing := left_out_of_picture(view.outcomes, axis):
        st.caption(plain(missing))
    words, button = st.columns([8, 2])
    words.caption(f"{CAPTION} Click a point, or drag a box around several, to open them below.")
    button.download_button(
        "Figure",
        lambda: figure_page(plot, CAPTION),
        file_name="pareto.html",
        mime="text/html",
        key="pareto-html",
        icon=":material/download:",
        on_click="ignore",
        help="As an interactive page; PNG and SVG are at the top right of the figure.",
    )


def pareto_figure(outcomes: Sequence[Outcome], reference: Outcome | None, axis: Axis) -> Figure:
    """The figure of all outcomes that have been completed and have what is on the axis."""
    rows = [_row(o, axis.measure, reference) for o in _completed(outcomes) if _has(o, axis)]
    return plot_pareto(rows, cost=axis.title, unit=axis.unit, scale=axis.scale)


def left_out_of_picture(outcomes: Sequence[Outcome], axis: Axis) -> str:
    """The completed outcomes that are no points because they have no closed form, in a sentence;
    nothing where there are none."""
    missing = [o.label for o in _completed(outcomes) if not _has(o, axis)]
    if not missing:
        return ""
    return (
        f"Not in this picture, as there is no closed form of what they cost: {', '.join(missing)}. "
        "What is measured is on the other axes."
    )


def _why_empty(outcomes: Sequence[Outcome], axis: Axis) -> str:
    return left_out_of_picture(outcomes, axis) or (
        "No run of this task has been completed yet: each is a point here when it ends."
    )


def _completed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if "accuracy" in outcome.measures]


def _has(outcome: Outcome, axis: Axis) -> bool:
    return axis.measure in outcome.measures


def facts(outcome: Outcome, reference: Outcome | None) -> dict[str, str]:
    """An outcome's measures in words, each cost with its ratio to vanilla."""
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "activation memory (formula)": ("activation_bytes", format_bytes),
        "all saved (measured)": ("saved_bytes", format_bytes),
        "cost of a step (formula)": ("macs", lambda count: format_count(count, "MACs")),
        "time of a step (measured)": ("step_seconds", format_seconds),
    }
    message = {"accuracy (measured)": f"{percent(outcome.measures['accuracy'].mean)}"}
    if (balanced := outcome.mean("balanced_accuracy")) is not None:
        message["balanced accuracy (measured)"] = percent(balanced)
    for name, (measure, written) in shown.items():
        value = by_formula(outcome.mean(measure), written)
        message[name] = value + _ratio(outcome, reference, measure)
    return {**message, "seeds": seeds_note(outcome)}


def _ratio(outcome: Outcome, reference: Outcome | None, measure: str) -> str:
    ours, theirs = outcome.mean(measure), reference.mean(measure) if reference else None
    if not ours or not theirs or outcome is reference:
        return ""
    if ours < theirs:
        return f", {three_digits(theirs / ours)}{THIN_SPACE}× less than vanilla"
    return f", {three_digits(ours / theirs)}{THIN_SPACE}× vanilla"


def _row(outcome: Outcome, measure: str, reference: Outcome | None) -> ParetoRow:
    accuracy, cost = outcome.measures["accuracy"], outcome.measures[measure]
    return ParetoRow(
        key=outcome.label,
        label=outcome.label,
        mark=_mark(outcome.label),
        style=outcome.kind,
        accuracy=accuracy.mean,
        cost=cost.mean,
        accuracy_deviation=accuracy.deviation,
        cost_deviation=cost.deviation,
        facts=tuple(f"{name}: {value}" for name, value in facts(outcome, reference).items()),
    )


def _mark(label: str) -> str:
    """The settings alone, in few signs: the method is told by colour and marker."""
    return label.partition(", ")[2].replace(" variance", "").replace("rank ", "r ")
