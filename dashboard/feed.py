"""Events of runs as rows, read from the store as they come: each is read once a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from asi_core.figures.curves import RunRows
from asi_core.figures.style import HEAD_ALONE
from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.training.events import EvaluationEvent, LayerProbe, ProbeEvent, StepEvent


@dataclass
class RunFeed:
    """What has been read of one run so far."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    probes: dict[int, dict[str, LayerProbe]] = field(default_factory=dict)

    def refresh(self, store: RunStore, run_id: str) -> None:
        """Read what is new."""
        for event in store.events(run_id, "step", after_step=_last(self.steps)):
            assert isinstance(event, StepEvent)
            self.steps.append(event.model_dump())
        for event in store.events(run_id, "evaluation", after_step=_last(self.evaluations)):
            assert isinstance(event, EvaluationEvent)
            self.evaluations.append(event.model_dump())
        for event in store.events(run_id, "probe", after_step=max(self.probes, default=-1)):
            assert isinstance(event, ProbeEvent)
            self.probes[event.step] = {layer.name: layer for layer in event.layers}

    def mean(self, field: str) -> float:
        """Of a field of step events, over the steps so far; there must be one."""
        return float(fmean(row[field] for row in self.steps))

    def median(self, field: str) -> float:
        """As `mean`."""
        return float(median(row[field] for row in self.steps))

    def rows(self, run: RunRecord, label: str) -> RunRows:
        """As figures want it."""
        return RunRows(label, run_style(run), self.steps, self.evaluations)


def run_label(run: RunRecord) -> str:
    """The name of a run inside its comparison."""
    return "Head alone" if run.spec.layers == 0 else run.spec.method.label


def run_style(run: RunRecord) -> str:
    """The key of a run's look."""
    return HEAD_ALONE if run.spec.layers == 0 else run.spec.method.kind


def _last(rows: list[dict[str, Any]]) -> int:
    return int(rows[-1]["step"]) if rows else -1
