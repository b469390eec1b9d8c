"""The Pareto figure: accuracy against cost. Selected points are shown in detail below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import streamlit as st

from asi_core.figures.pareto import ParetoRow, plot_pareto
from asi_core.figures.style import Figure
from asi_core.results.outcomes import Outcome
from asi_core.units import KIB, MIB, by_formula, format_bytes, format_count, format_seconds
from dashboard.compare.answer import against_vanilla, seeds_note
from dashboard.compare.controls import View
from dashboard.compare.selection import select_points
from dashboard.frame import URL, axis_control, below_figure, percent
from dashboard.live_chart import live_chart
from dashboard.plain import plain

CAPTION = (
    "Test accuracy, step time and bytes saved for backward are measured; activation memory (the "
    "trained layers' inputs as they are kept) and multiply-accumulates are computed by formula. "
    "Dim points are dominated: another run is at least as accurate at no higher cost. Error bars "
    "are standard deviations over seeds; the dotted line is the linear probe. Step times are those "
    "of each run's machine."
)


# Bytes above which a linear axis has the next larger unit.
_MANY = 4 * MIB


class Axis(NamedTuple):
    """A cost: its measure, the axis title, and the unit with its size in base units."""

    measure: str
    title: str
    unit: str
    scale: float


AXES = {
    "Activation memory": Axis("activation_bytes", "activation memory (formula)", "KiB", KIB),
    "All that is saved": Axis("saved_bytes", "all saved for backward (measured)", "MiB", MIB),
    "Peak of a step": Axis("peak_bytes", "peak of a step (measured)", "MiB", MIB),
    "Multiplies": Axis("macs", "MACs per step (formula)", "GMACs", 1e9),
    "Step time": Axis("step_seconds", "step time (measured)", "ms", 1e-3),
}


def pareto(view: View, reference: Outcome | None) -> None:
    """Draw the figure with the choice of its horizontal axis."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        axis = AXES[
            st.segmented_control(
                "Horizontal axis",
                list(AXES),
                default="Activation memory",
                required=True,
                key="against",
                help="The cost against which accuracy is plotted.",
                **URL,
            )
        ]
    with right:
        log = axis_control("the cost")
    plot = pareto_figure(view.outcomes, reference, axis, log=log)
    if not plot.data:
        why = left_out_of_picture(view.outcomes, axis) or (
            "No run of this task has been completed yet: each run becomes a point when it ends."
        )
        st.info(plain(why))
        return
    live_chart(plot, key="pareto", on_select=select_points)
    if missing := left_out_of_picture(view.outcomes, axis):
        st.caption(plain(missing))
    below_figure(
        plot,
        partial(pareto_figure, view.outcomes, reference, axis, log=not log),
        key="pareto",
        caption=CAPTION,
        further="Click a point, or drag a box around several, for details below.",
    )


def pareto_figure(
    outcomes: Sequence[Outcome], reference: Outcome | None, axis: Axis, *, log: bool = False
) -> Figure:
    """The figure of all completed outcomes that have the axis's measure."""
    done = [o for o in _completed(outcomes) if axis.measure in o.measures]
    rows = [_row(o, axis.measure, reference) for o in done]
    largest = max((row.cost for row in rows), default=0.0)
    is_many = axis.unit == "KiB" and not log and largest > _MANY
    unit, scale = ("MiB", MIB) if is_many else (axis.unit, axis.scale)
    return plot_pareto(rows, cost=axis.title, unit=unit, scale=scale, log=log)


def left_out_of_picture(outcomes: Sequence[Outcome], axis: Axis) -> str:
    """A sentence about completed outcomes without a point: their cost has no closed form, or
    was not recorded; empty if there are none."""
    missing = [o.label for o in _completed(outcomes) if axis.measure not in o.measures]
    if not missing:
        return ""
    if "(measured)" in axis.title:
        return f"Not in this figure, because it was not recorded then: {', '.join(missing)}."
    return (
        f"Not in this figure, because their cost has no closed form: {', '.join(missing)}. "
        "Choose a measured quantity as the axis to see them."
    )


def _completed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if "accuracy" in outcome.measures]


def facts(outcome: Outcome, reference: Outcome | None) -> dict[str, str]:
    """An outcome's measures as text, each cost with its ratio to vanilla."""
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "activation memory (formula)": ("activation_bytes", format_bytes),
        "saved for backward (measured)": ("saved_bytes", format_bytes),
        "peak of a step (measured)": ("peak_bytes", format_bytes),
        "MACs per step (formula)": ("macs", lambda count: format_count(count, "MACs")),
        "step time (measured)": ("step_seconds", format_seconds),
    }
    message = {"accuracy (measured)": f"{percent(outcome.measures['accuracy'].mean)}"}
    if (balanced := outcome.mean("balanced_accuracy")) is not None:
        message["balanced accuracy (measured)"] = percent(balanced)
    for name, (measure, written) in shown.items():
        if measure not in outcome.measures and name.endswith("(measured)"):
            continue
        value = by_formula(outcome.mean(measure), written)
        message[name] = value + _ratio(outcome, reference, measure)
    return {**message, "seeds": seeds_note(outcome)}


def _ratio(outcome: Outcome, reference: Outcome | None, measure: str) -> str:
    ours, theirs = outcome.mean(measure), reference.mean(measure) if reference else None
    if not ours or not theirs or outcome is reference:
        return ""
    return f", {against_vanilla(ours / theirs)}"


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
    """The settings in few characters: colour and marker show the method."""
    return label.partition(", ")[2].replace(" variance", "").replace("rank ", "r ")
