"""The selected runs: their curves, what their spectra were cut to, and their settings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from asi_core.figures.curves import RunRows, plot_accuracy, plot_loss
from asi_core.figures.shades import shaded
from asi_core.figures.style import Figure
from asi_core.results.differences import differing_settings
from asi_core.results.outcomes import Outcome
from asi_core.runs.records import RunRecord
from asi_core.training.events import LayerProbe, ProbeEvent
from dashboard import services
from dashboard.audience import slowness
from dashboard.compare.answer import percent
from dashboard.compare.kept import library
from dashboard.frame import figure, table
from dashboard.history import run_labels
from dashboard.left_out import drawable, tell_left_out
from dashboard.navigation import switch_to
from dashboard.reproduce import reproduce_panel
from dashboard.spectra.choice import with_layers

MOST_CURVES = 12
CURVES_CAPTION = (
    "Measured, on the test images and while training. One line a run; seeds look alike."
)
CUTS_CAPTION = (
    "Measured at the last look of each run: the ranks in force, the share of the input's energy "
    "that they keep, and the cosine between the weight gradient in use and the exact one."
)


def details(outcomes: Sequence[Outcome]) -> None:
    """Draw what there is to say about the selected outcomes."""
    runs = named_runs(outcomes)
    tell_left_out(undrawn(outcomes))
    _curves(outcomes)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("##### The settings that differ")
        _differences(outcomes)
    with right:
        st.markdown("##### Where the spectra were cut")
        _cuts(outcomes)
    reproduce_panel([run.spec for run in runs.values()], list(runs), key="compare")


def named_runs(outcomes: Sequence[Outcome]) -> dict[str, RunRecord]:
    """The runs of outcomes under names that are all different."""
    named: dict[str, RunRecord] = {}
    for outcome in outcomes:
        for run in outcome.runs:
            name = outcome.label if len(outcome.runs) == 1 else f"{outcome.label}, {_seed(run)}"
            named[name if name not in named else f"{name} ({run.id})"] = run
    return named


def curve_figures(outcomes: Sequence[Outcome]) -> tuple[Figure, Figure]:
    """Accuracy and loss of at most `MOST_CURVES` runs; the seeds of an outcome look alike."""
    sound = [(o.label, run) for o in outcomes for run in o.runs if problem_of(run) is None]
    shown = sound[:MOST_CURVES]
    rows = [_rows(label, run) for label, run in shown]
    styles, groups = [row.style for row in rows], [label for label, _ in shown]
    return shaded(plot_accuracy(rows), styles, groups), shaded(plot_loss(rows), styles, groups)


def difference_rows(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """One row a setting in which outcomes differ, with a column for each outcome."""
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
    """One row for each outcome and layer whose spectrum is cut, at the newest run's last look."""
    rows = []
    for outcome in outcomes:
        for layer in _last_probe(outcome.runs[0]):
            if layer.ranks is None:
                continue
            rows.append(
                {
                    "run": outcome.label,
                    "layer": layer.name,
                    "input": " × ".join(map(str, layer.shape)),
                    "ranks": " × ".join(map(str, layer.ranks)),
                    "energy kept": _share(layer.captured_energy),
                    "gradient cosine": _written(layer.gradient_cosine, "{:.3f}"),
                }
            )
    return rows


def undrawn(outcomes: Sequence[Outcome]) -> list[str]:
    """Runs of outcomes whose curves and spectra cannot be drawn, and why."""
    runs = [(o.label, run) for o in outcomes for run in o.runs]
    found = [(label, run, problem_of(run)) for label, run in runs]
    return [f"{label} {run.id} ({problem})" for label, run, problem in found if problem]


def problem_of(run: RunRecord) -> str | None:
    """What the events of a run have that no run can have; None for one that can be drawn."""
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
        caption += f" The first {MOST_CURVES} of {count} runs are drawn: select fewer."
    for column, plot, key in zip(st.columns(2), plots, ("accuracy", "loss"), strict=True):
        with column:
            figure(plot, key=f"compare-{key}", caption=caption)


def _differences(outcomes: Sequence[Outcome]) -> None:
    rows = difference_rows(outcomes)
    if rows:
        table(pd.DataFrame(rows), key="differences")
    else:
        st.caption("None: select at least two runs in the picture or the table.")


def _cuts(outcomes: Sequence[Outcome]) -> None:
    rows = cut_rows(outcomes)
    if not rows:
        st.caption("Nothing was cut in the selected runs: they keep their inputs whole.")
        return
    table(pd.DataFrame(rows), key="cuts", caption=CUTS_CAPTION)
    _spectra_button(next(o for o in outcomes if o.label == rows[0]["run"]).runs[0])


def _spectra_button(run: RunRecord) -> None:
    """Lead to the Spectra page at this run."""
    if st.button(
        "Look at the spectra",
        icon=":material/equalizer:",
        key="to-spectra",
        help="The singular values behind the first run of this table, layer by layer.",
    ):
        runs, _ = drawable(with_layers(services.store().comparison(run.comparison)))
        label = run_labels(runs)[[other.id for other in runs].index(run.id)]
        query = {"comparison": run.comparison, "run": label}
        switch_to("spectra", query)


def _rows(name: str, run: RunRecord) -> RunRows:
    return services.feeds().of(run, slowness()).rows(run, name)


def _seed(run: RunRecord) -> str:
    return f"seed {run.spec.seed}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _written(value: object, pattern: str = "{}") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "·".join(map(str, value))
    return "–" if value is None else pattern.format(value)
