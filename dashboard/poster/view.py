"""The parts of the Poster page: counts, figures, the table, and further claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
import streamlit as st

from asi_core.figures.poster import plot_printed_against_computed
from asi_core.poster import Row, poster_facts
from asi_core.records import Convention
from asi_core.units import last_layers
from asi_core.zoo.cards import MODELS
from dashboard import services
from dashboard.frame import URL, Kpi, answer, figure, kpi_row
from dashboard.plain import plain
from dashboard.poster.cells import (
    METHOD_TITLES,
    answer_sentence,
    counts_of,
    number_table,
    points,
    reasons,
    shown_table,
)
from dashboard.poster.here import claims, measured_table, measurements
from dashboard.poster.study import study_view
from dashboard.tables import small_table, table

_BOTH: tuple[tuple[Literal["memory", "cost"], str, str], ...] = (
    ("memory", "Activation memory", "MiB"),
    ("cost", "Cost per step", "GMACs"),
)


def filters(models: Sequence[str]) -> tuple[Convention, list[str], list[str]]:
    """Convention, models and methods to show."""
    how, which, what = st.columns([2, 3, 3])
    with how:
        convention: Convention | None = st.segmented_control(
            "Convention",
            ["paper", "exact"],
            default="paper",
            required=True,
            key="convention",
            help="paper counts like the poster: grouped convolutions as dense, no input gradient. "
            "exact counts what the code executes.",
            **URL,
        )
    with which:
        chosen = st.multiselect(
            "Models",
            models,
            format_func=lambda name: MODELS[name].title,
            placeholder="all",
            key="models",
            help="Only rows of these models.",
            **URL,
        )
    with what:
        methods = st.multiselect(
            "Methods",
            list(METHOD_TITLES),
            format_func=lambda name: METHOD_TITLES[name],
            placeholder="all",
            key="poster_methods",
            help="Only rows of these methods.",
            **URL,
        )
    return convention or "paper", chosen, methods


def poster_view(rows: Sequence[Row], convention: Convention) -> None:
    """The chosen rows, from the answer to the details."""
    answer(answer_sentence(rows, convention))
    if not rows:
        return
    _figures(rows, convention)
    kpi_row(_kpis(rows))
    _table(rows)
    study_view()
    _further_claims()
    _source()


def _kpis(rows: Sequence[Row]) -> list[Kpi]:
    counts, total = counts_of(rows), 2 * len(rows)
    return [
        Kpi("✓ Exact", str(counts["exact"]), f"of {total} cells", "To the two digits printed."),
        Kpi(
            "≈ Close or counted differently",
            str(counts["close"]),
            f"of {total} cells",
            "Computed, but not equal to the printed digits; the reasons are below the table.",
        ),
        Kpi(
            "– Not computable",
            str(counts["not computable"]),
            f"of {total} cells",
            "They depend on ranks that the poster does not give.",
        ),
    ]


def _figures(rows: Sequence[Row], convention: Convention) -> None:
    for column, (quantity, title, unit) in zip(st.columns(2), _BOTH, strict=True):
        drawn = points(rows, quantity)
        with column:
            figure(
                plot_printed_against_computed(
                    drawn, title=f"{title}, {convention} convention", unit=unit
                ),
                key=f"poster-{quantity}",
                caption=f"By formula: {len(drawn)} of {len(rows)} cells. Cells on the dotted line "
                "equal the printed value. Open markers are not exact; cells that are not "
                "computable are not drawn.",
            )


def _table(rows: Sequence[Row]) -> None:
    st.subheader("Cell by cell")
    st.table(shown_table(rows), hide_index=True, border="horizontal")
    if message := reasons(rows):
        st.caption("Why cells are not exact: " + "; ".join(message) + ".")
    with st.expander("As numbers", icon=":material/table_rows:"):
        table(
            number_table(rows),
            key="poster-table",
            caption="Memory in MiB, cost in 1e9 multiply-accumulates per step; all computed values "
            "are by formula.",
        )


def _further_claims() -> None:
    st.subheader("Further claims, and measurements here")
    message = claims(services.store())
    rows = [{"The poster says": c.said, "Here": c.here, "Why": c.why} for c in message]
    said = pd.DataFrame(rows)
    small_table(said, said, key="poster-claims", caption="What the poster says, and what is here.")
    found = measurements(services.jobs())
    if not found:
        st.info("No measurements yet: the Explore page measures a step on this machine.")
        return
    spec = found[0].spec
    table(
        measured_table(found),
        key="poster-measured",
        caption=f"One training step of {plain(last_layers(spec.layers))} of {spec.model_label}, "
        f"batch {spec.batch_size}, {spec.image_size} px. Formula bytes are computed, all others "
        "measured. Rows marked 'shipped' were measured before this app was installed; the Explore "
        "page measures on this machine.",
        column_config=_MEASURED_COLUMNS,
    )


def _source() -> None:
    facts = poster_facts()
    setting = facts["setting"]
    st.caption(
        f"Source: {facts['source']}. Setting: ImageNet, batch {setting['batch_size']}, "
        f"{setting['image_size']} px, 4 bytes per number; MB on the poster are MiB, and its FLOPs "
        "are multiply-accumulates."
    )


def _bytes_column(label: str, message: str) -> object:
    return st.column_config.NumberColumn(label, format="localized", help=message)


_MEASURED_COLUMNS = {
    "method": st.column_config.TextColumn("Method"),
    "formula_bytes": _bytes_column("Formula, bytes", "The trained layers' inputs as kept."),
    "layers_measured_bytes": _bytes_column("Layers, bytes", "What the trained layers saved."),
    "all_saved_bytes": _bytes_column(
        "All saved, bytes",
        "Everything that PyTorch saved for backward in the trained part, including what "
        "activation functions, normalisations and the classifier need.",
    ),
    "where": st.column_config.TextColumn("Measured on"),
}
