"""The parts of the Plan page, from the answer to the details."""

from __future__ import annotations

import streamlit as st

from asi_core.figures.plan import plot_error_curve, plot_kept
from asi_core.records import HEAD_LABEL
from asi_core.units import last_layers
from asi_core.zoo.cards import model_card
from dashboard.frame import answer, axis_control, figure, kpi_row
from dashboard.plain import plain
from dashboard.plan.controls import PlanQuestion
from dashboard.plan.planned import (
    Planned,
    answer_sentence,
    chosen_point,
    curve,
    kept_rows,
    kpis,
    rank_table,
    way_out,
)
from dashboard.plan.training import plan_specs, train_button
from dashboard.reproduce import reproduce_panel
from dashboard.tables import table

_COLUMNS = {
    "layer": st.column_config.TextColumn("Layer"),
    "input": st.column_config.TextColumn("Input", help="Sizes of the modes."),
    "explained_variance": st.column_config.NumberColumn(
        "Explained", help="Share of each mode's energy that the ranks keep. 1: the whole input."
    ),
    "kept_bytes": st.column_config.NumberColumn("Kept, bytes", format="localized"),
    "vanilla_bytes": st.column_config.NumberColumn("Vanilla, bytes", format="localized"),
    "gradient_error": st.column_config.NumberColumn(
        "Gradient error",
        format="%.3g",
        help="Frobenius norm of the weight gradient's error; the paper calls it perplexity.",
    ),
}


def unknown_view(question: PlanQuestion) -> None:
    """The answer while these layers have not been calibrated."""
    spec = question.spec
    answer(
        f"There is no calibration yet of {plain(last_layers(spec.layers))} of {spec.model_label} "
        f"at batch size {spec.batch_size} and {spec.image_size} px: calibrate once, then every "
        "budget is planned at once."
    )


def plan_view(question: PlanQuestion, what: Planned) -> None:
    """The plan within a budget: answer, numbers, button, figures, details."""
    answer(answer_sentence(what))
    if what.plan is None:
        st.error(way_out(what))
        _curve(what)
        return
    left, right = st.columns(2)
    # Below the figures, which need its value.
    with st.container(horizontal=True, vertical_alignment="center"):
        train_button(question, what)
        log = axis_control()
    with left:
        figure(
            plot_kept(kept_rows(what), log=log),
            other_axis=lambda: plot_kept(kept_rows(what), log=not log),
            key="plan-kept",
            caption="By formula: core and factors at the planned ranks, and the whole input. The "
            "ranks come from measured spectra.",
        )
    with right:
        _curve(what)
    kpi_row(kpis(what))
    _details(question, what)


def _curve(what: Planned) -> None:
    best, alike = curve(what.profiles)
    figure(
        plot_error_curve(best, alike, what.budget_bytes, chosen_point(what)),
        key="plan-curve",
        caption="Errors are measured on two batches before the first step, against the exact "
        "gradients; bytes are by formula. The dashed line is the budget.",
    )


def _details(question: PlanQuestion, what: Planned) -> None:
    card = model_card(question.spec.model)
    ranks = {
        name: st.column_config.NumberColumn(name.title(), help=f"Rank of the {name} mode.")
        for name in card.mode_names
    }
    with st.expander("Ranks per layer and mode", icon=":material/table_rows:", expanded=True):
        table(
            rank_table(what, card.mode_names),
            key="plan-ranks",
            caption=f"Columns {', '.join(card.mode_names)}: the planned ranks. Bytes are by "
            "formula, errors measured.",
            column_config={**_COLUMNS, **ranks},
        )
    specs = plan_specs(question, what)
    names = [HEAD_LABEL, *(spec.method.settings_label for spec in specs[1:])]
    reproduce_panel(specs[::-1], names[::-1], key="plan")
