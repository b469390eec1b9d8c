"""The selected runs: their curves, ranks and settings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from asi_core.figures.curves import plot_accuracy, plot_loss
from asi_core.figures.shades import shaded
from asi_core.figures.style import Figure
from asi_core.results.differences import differing_settings
from asi_core.results.outcomes import Outcome
from asi_core.runs.records import RunRecord
from asi_core.training.events import LayerProbe, ProbeEvent
from asi_core.units import DASH
from dashboard import services
from dashboard.audience import slowness
from dashboard.compare.kept import library
from dashboard.frame import figure, percent
from dashboard.history import run_labels
from dashboard.left_out import drawable, tell_left_out
from dashboard.navigation import switch_to
from dashboard.reproduce import reproduce_panel
from dashboard.spectra.choice import with_layers
from dashboard.tables import table

MOST_CURVES = 12
CURVES_CAPTION = (
    "Measured, on the test images and during training. One line per run; seeds share a style."
)
CUTS_CAPTION = (
    "Measured at the last probe of each run: the ranks in use, the share of the input's energy "
    "that they keep, and the cosine between the weight gradient in use and the exact one."
)


def details(outcomes: Sequence[Outcome]) -> None:
    """Draw the details of the selected outcomes."""
    runs = named_runs(outcomes)
    tell_left_out(undrawn(outcomes))
    _curves(outcomes)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("##### Different settings")
        _differences(outcomes)
    with right:
        st.markdown("##### Ranks")
        _cuts(outcomes)
    reproduce_panel([run.spec for run in runs.values()], list(runs), key="compare")


def named_runs(outcomes: Sequence[Outcome]) -> dict[str, RunRecord]:
    """The runs of outcomes by distinct names."""
    named: dict[str, RunRecord] = {}
    for outcome in outcomes:
        for run in outcome.runs:
            seed = "" if len(outcome.runs) == 1 else f", seed {run.spec.seed}"
            name = outcome.label + seed
            named[name if name not in named else f"{name} ({run.id})"] = run
    return named


def curve_figures(outcomes: Sequence[Outcome]) -> tuple[Figure, Figure]:
    """Accuracy and loss of at most `MOST_CURVES` runs; seeds of an outcome share a style."""
    sound = [(o.label, run) for o in outcomes for run in o.runs if problem_of(run) is None]
    shown = sound[:MOST_CURVES]
    rows = [services.feeds().of(run, slowness()).rows(run, label) for label, run in shown]
    styles, groups = [row.style for row in rows], [label for label, _ in shown]
    return shaded(plot_accuracy(rows), styles, groups), shaded(plot_loss(rows), styles, groups)


def difference_rows(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """One row per setting in which outcomes differ, with a column for each outcome."""
    found = differing_settings([outcome.spec for outcome in outcomes])
    if any(outcome.seeds != outcomes[0].seeds for outcome in outcomes):
        found["seed"] = [", ".join(map(str, outcome.seeds)) for outcome in outcomes]
    else:
        found.pop("seed", None)
    labels = [outcome.label for outcome in outcomes]
    return [
        {"setting": name.replace("_", " ")}
        | {label: _written(value) for label, value in zip(labels, values, strict=True)}
        for name, values in found.items()
    ]


def cut_rows(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """One row per outcome and layer with ranks, at the last probe of its newest run."""
    rows = []
    for outcome in outcomes:
        for layer in _last_probe(outcome.runs[0]):
            energy = layer.captured_energy
            if layer.ranks is None:
                continue
            rows.append(
                {
                    "run": outcome.label,
                    "layer": layer.name,
                    "input": " × ".join(map(str, layer.shape)),
                    "ranks": " × ".join(map(str, layer.ranks)),
                    "energy kept": DASH if energy is None else percent(energy),
                    "gradient cosine": _written(layer.gradient_cosine, "{:.3f}"),
                }
            )
    return rows


def undrawn(outcomes: Sequence[Outcome]) -> list[str]:
    """The runs of outcomes with invalid events, and why."""
    runs = ((o.label, run) for o in outcomes for run in o.runs)
    return [f"{label} {run.id} ({why})" for label, run in runs if (why := problem_of(run))]


def problem_of(run: RunRecord) -> str | None:
    """Why the events of a run are invalid; None for a run that can be drawn."""
    return services.feeds().of(run, slowness()).problem


def _last_probe(run: RunRecord) -> Sequence[LayerProbe]:
    if problem_of(run) is not None:
        return ()
    probe_event = library().last_event(run.id, "probe")
    return probe_event.layers if isinstance(probe_event, ProbeEvent) else ()


def _curves(outcomes: Sequence[Outcome]) -> None:
    plots, count = curve_figures(outcomes), sum(len(outcome.runs) for outcome in outcomes)
    caption = CURVES_CAPTION
    if count > MOST_CURVES:
        caption += f" The first {MOST_CURVES} of {count} runs are drawn: select fewer runs."
    for column, plot, key in zip(st.columns(2), plots, ("accuracy", "loss"), strict=True):
        with column:
            figure(plot, key=f"compare-{key}", caption=caption)


def _differences(outcomes: Sequence[Outcome]) -> None:
    rows = difference_rows(outcomes)
    if rows:
        table(pd.DataFrame(rows), key="differences")
    else:
        st.caption("None: select at least two runs in the figure or the table.")


def _cuts(outcomes: Sequence[Outcome]) -> None:
    rows = cut_rows(outcomes)
    if not rows:
        st.caption("The selected runs have no ranks: they do not use low-rank compression.")
        return
    table(pd.DataFrame(rows), key="cuts", caption=CUTS_CAPTION)
    run = next(o for o in outcomes if o.label == rows[0]["run"]).runs[0]
    if st.button(
        "Show spectra",
        icon=":material/equalizer:",
        key="to-spectra",
        help="The singular values of the first run of this table, layer by layer.",
    ):
        runs, _ = drawable(with_layers(services.store().comparison(run.comparison)))
        label = run_labels(runs)[[other.id for other in runs].index(run.id)]
        switch_to("spectra", {"comparison": run.comparison, "run": label})


def _written(value: object, pattern: str = "{}") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "·".join(map(str, value))
    return DASH if value is None else pattern.format(value)
