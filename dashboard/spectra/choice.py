"""The choice of a comparison, one of its runs, a layer and a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.training.events import LayerProbe
from dashboard import services
from dashboard.frame import URL
from dashboard.history import comparison_box, known_comparisons, run_labels
from dashboard.left_out import drawable
from dashboard.links import comparison_in_url
from dashboard.plain import plain
from dashboard.spectra.probes import SeenRun, seen

# A run with fewer has little to show over its steps.
_FEW_PROBES = 5


@dataclass(frozen=True)
class Subject:
    """The chosen run, layer and step, and all probed runs of the same comparison and seed."""

    chosen: SeenRun
    peers: Sequence[SeenRun]
    layer: str
    step: int

    @property
    def probe(self) -> LayerProbe:
        found = self.chosen.probe(self.step, self.layer)
        assert found is not None
        return found


def choose_comparison() -> list[RunRecord]:
    """The runs of the comparison in the link or in the box; empty if there is none."""
    found = {name: runs for name, runs in known_comparisons().items() if with_layers(runs)}
    # The page is about probes: shipped runs that have few of them come last.
    known = dict(sorted(found.items(), key=lambda item: _is_sparse(item[1])))
    name, message = comparison_in_url()
    if message and name not in known:
        if name and with_layers(named := services.store().comparison(name)):
            known[name] = named
        else:
            st.warning(
                plain(f"The link asks for the comparison {message}, which has no runs with trained")
                + " layers here: choose from the list."
            )
    return known[comparison_box(known, name, "spectra_comparison")] if known else []


def _is_sparse(runs: Sequence[RunRecord]) -> bool:
    spec = runs[0].spec
    is_shipped = runs[0].owner == EXAMPLE_OWNER
    return is_shipped and spec.steps < _FEW_PROBES * spec.probe_interval


def choose_subject(
    comparison: Sequence[RunRecord], place_of_step: DeltaGenerator
) -> Subject | None:
    """The run, layer and step to show; None, with a message, before the first probe. The step is
    chosen in `place_of_step`."""
    runs, _ = drawable(with_layers(comparison))
    if not runs:
        return None
    labels = run_labels(runs)
    left, right = st.columns(2)
    with left:
        chosen = _choose_run(runs, labels)
    if not chosen.steps:
        _tell_why_not(chosen.run)
        return None
    alike = [run for run in runs if run.spec.seed == chosen.run.spec.seed]
    # New labels: among runs of one seed they need not include it.
    named = [seen(run, label) for run, label in zip(alike, run_labels(alike), strict=True)]
    peers = [peer for peer in named if peer.steps]
    chosen = next(peer for peer in peers if peer.run.id == chosen.run.id)
    with right:
        layer = _choose_layer(chosen)
    with place_of_step:
        step = _choose_step(chosen)
    return Subject(chosen, peers, layer, step)


def with_layers(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs that train layers, without the linear probe."""
    return [run for run in runs if run.spec.layers != 0]


def _choose_run(runs: Sequence[RunRecord], labels: Sequence[str]) -> SeenRun:
    # Preset: a run with ranks, which has the most to show.
    first = next((n for n, run in enumerate(runs) if run.spec.method.has_ranks), 0)
    label = st.selectbox(
        "Run",
        labels,
        index=first,
        key="run",
        help="The spectra are those of this run's layer inputs. Other runs of the same comparison "
        "are drawn for comparison.",
        **URL,
    )
    number = list(labels).index(label)
    return seen(runs[number], label)


def _choose_layer(chosen: SeenRun) -> str:
    names = chosen.layer_names
    probes = [chosen.probe(chosen.steps[0], name) for name in names]
    sizes = [prod(probe.shape) if probe is not None else 0 for probe in probes]
    layer: str = st.selectbox(
        "Layer",
        names,
        index=sizes.index(max(sizes)),
        key="layer",
        help="The trained layer whose input is shown, by its name in the model. Default: the one "
        "with the largest input.",
        **URL,
    )
    return layer


def _choose_step(chosen: SeenRun) -> int:
    steps = chosen.steps
    if len(steps) == 1:
        return steps[0]
    wide, narrow = st.columns([6, 1], vertical_alignment="bottom")
    step = wide.select_slider(
        "Step",
        steps,
        value=steps[-1],
        key="step",
        help="The training steps in which the layers were probed.",
        **URL,
    )
    narrow.toggle("Play", key="play", help="Go through the steps, one per second.")
    return int(step)


def _tell_why_not(run: RunRecord) -> None:
    if run.status == "failed":
        st.error(f"This run failed before its first probe: {plain(run.error or run.status)}")
    elif run.is_active:
        st.info("The first probe comes with this run's first step.", icon=":material/hourglass:")
    else:
        st.info("This run ended before its first probe: choose another run.")
