"""What was seen of each run: its probes, read from the store as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import streamlit as st

from asi_core.figures.drift import ProbedRun
from asi_core.figures.spectra import Cut
from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.training.events import LayerProbe, ProbeEvent, StepEvent
from dashboard import services
from dashboard.feed import run_style


@dataclass
class Looks:
    """All probes of one run that have been read so far, by step and layer."""

    by_step: dict[int, dict[str, LayerProbe]] = field(default_factory=dict)
    seconds: float = 0.0

    def refresh(self, store: RunStore, run_id: str) -> None:
        """Read what is new."""
        for event in store.events(run_id, "probe", after_step=max(self.by_step, default=-1)):
            assert isinstance(event, ProbeEvent)
            self.by_step[event.step] = {layer.name: layer for layer in event.layers}
            self.seconds += event.seconds or 0.0


@dataclass(frozen=True)
class SeenRun:
    """A run, what it is called among those shown with it, and its probes."""

    run: RunRecord
    label: str
    looks: Looks

    @property
    def style(self) -> str:
        return run_style(self.run)

    @property
    def steps(self) -> list[int]:
        return sorted(self.looks.by_step)

    @property
    def layer_names(self) -> list[str]:
        return list(next(iter(self.looks.by_step.values()), {}))

    def probe(self, step: int, layer: str) -> LayerProbe | None:
        return self.looks.by_step.get(step, {}).get(layer)

    def rows(self, layer: str) -> ProbedRun:
        """One layer over the run, as figures want it."""
        found = [(step, self.looks.by_step[step].get(layer)) for step in self.steps]
        steps = [step for step, probe in found if probe is not None]
        probes = [probe for _, probe in found if probe is not None]
        return ProbedRun(
            label=self.label,
            style=self.style,
            steps=steps,
            ranks=[probe.ranks for probe in probes],
            captured=[probe.captured_energy for probe in probes],
            best=[probe.best_energy for probe in probes],
            cosines=[probe.gradient_cosine for probe in probes],
            drift=[probe.drift_degrees for probe in probes],
        )


def seen(run: RunRecord, label: str) -> SeenRun:
    """`run` with all of its probes; each is read once a session."""
    known: dict[str, Looks] = st.session_state.setdefault("looks", {})
    looks = known.setdefault(run.id, Looks())
    looks.refresh(services.store(), run.id)
    return SeenRun(run, label, looks)


def cuts(runs: Sequence[SeenRun], step: int, layer: str) -> list[Cut]:
    """Where the runs cut at a step; runs without ranks do not."""
    found = ((run, run.probe(step, layer)) for run in runs)
    return [
        Cut(run.label, run.style, probe.ranks)
        for run, probe in found
        if probe is not None and probe.ranks is not None
    ]


def probe_share(seen_run: SeenRun) -> float | None:
    """What looking took as a share of what the steps took; None before the first look."""
    summary = seen_run.run.summary or {}
    share = summary.get("seconds", {}).get("probe_share")
    if share is not None:
        return float(share)
    steps = services.store().events(seen_run.run.id, "step")
    total = sum(step.step_seconds for step in steps if isinstance(step, StepEvent))
    return seen_run.looks.seconds / total if total and seen_run.looks.seconds else None
