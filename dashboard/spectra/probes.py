"""The probes of runs, read from the store as they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asi_core.figures.drift import ProbedRun
from asi_core.figures.spectra import Cut
from asi_core.runs.records import RunRecord
from asi_core.training.events import LayerProbe
from dashboard import services
from dashboard.audience import slowness
from dashboard.feed import RunFeed, run_style

# The times of a step's parts, in its events.
_PARTS = ("forward_seconds", "backward_seconds", "update_seconds")


@dataclass(frozen=True)
class SeenRun:
    """A run, its label, and its feed with the probes."""

    run: RunRecord
    label: str
    feed: RunFeed

    @property
    def style(self) -> str:
        return run_style(self.run)

    @property
    def steps(self) -> list[int]:
        return sorted(self.feed.probes)

    @property
    def layer_names(self) -> list[str]:
        return list(next(iter(self.feed.probes.values()), {}))

    def probe(self, step: int, layer: str) -> LayerProbe | None:
        return self.feed.probes.get(step, {}).get(layer)

    def rows(self, layer: str) -> ProbedRun:
        """One layer's probes over the run, for figures."""
        found = [(step, self.feed.probes[step].get(layer)) for step in self.steps]
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
    """`run` with its probes."""
    return SeenRun(run, label, services.feeds().of(run, slowness()))


def cuts(runs: Sequence[SeenRun], step: int, layer: str) -> list[Cut]:
    """The ranks of the runs at a step; runs without ranks are left out."""
    found = ((run, run.probe(step, layer)) for run in runs)
    return [
        Cut(run.label, run.style, probe.ranks)
        for run, probe in found
        if probe is not None and probe.ranks is not None
    ]


def probe_share(seen_run: SeenRun) -> float | None:
    """The time of all probes relative to that of all steps; None before the first probe."""
    summary = seen_run.run.summary or {}
    share = summary.get("seconds", {}).get("probe_share")
    if share is not None:
        return float(share)
    total = sum(sum(row[part] for part in _PARTS) for row in seen_run.feed.steps)
    return seen_run.feed.probe_seconds / total if total and seen_run.feed.probe_seconds else None
