"""Outcomes of runs: their measures, and means over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from asi_core.datasets import dataset_card
from asi_core.methods import Vanilla
from asi_core.records import HEAD_LABEL
from asi_core.results.differences import PROBING_SETTINGS
from asi_core.results.statistics import (
    Difference,
    Interval,
    mean_interval,
    runs_difference,
    seeds_difference,
    share_interval,
)
from asi_core.runs.records import RunRecord, kind_of
from asi_core.training.spec import RunSpec
from asi_core.units import layer_count
from asi_core.zoo.cards import model_card

# The measures by which runs are compared, and their paths in the summary.
MEASURES: dict[str, tuple[str, ...]] = {
    "accuracy": ("test_accuracy",),
    "balanced_accuracy": ("balanced_accuracy",),
    "activation_bytes": ("activation_bytes",),
    "saved_bytes": ("measured_saved_bytes",),
    "peak_bytes": ("peak_bytes",),
    "macs": ("macs", "total"),
    "step_seconds": ("seconds", "step_median"),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and deviation of a measure over runs that differ only in their seed.

    Attributes:
        deviation: sample standard deviation; None for a single seed.
        count: number of seeds.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, or runs that differ only in their seed.

    Attributes:
        kind: kind of the method, or `HEAD_KIND` for a linear probe.
        runs: newest first.
        measures: measures of the completed runs, by name as in `MEASURES`; empty if there are
            none. Of several runs with the same seed, the newest counts.
    """

    label: str
    kind: str
    runs: tuple[RunRecord, ...]
    measures: dict[str, Spread]

    @property
    def spec(self) -> RunSpec:
        return self.runs[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({run.spec.seed for run in self.runs}))

    @property
    def accuracies(self) -> dict[int, float]:
        """Test accuracies of the completed runs by seed; the newest run of a seed counts."""
        return by_seed(self.runs, "accuracy")

    @property
    def test_images(self) -> int | None:
        """The size of the test set; None if it is not known, or not the same for all runs."""
        counts = {test_images(run) for run in self.runs if run.status == "completed"}
        return counts.pop() if len(counts) == 1 else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """The interval of the mean accuracy over seeds, or of a single run by its test set."""
        accuracies = list(self.accuracies.values())
        if len(accuracies) == 1 and self.test_images:
            return share_interval(accuracies[0], self.test_images)
        return mean_interval(accuracies)

    def mean(self, measure: str) -> float | None:
        """Mean of a measure; None if unknown."""
        spread = self.measures.get(measure)
        return None if spread is None else spread.mean


def measure(run: RunRecord, name: str) -> float | None:
    """A measure of one run; None if it is not available."""
    value: Any = run.summary
    for key in MEASURES[name]:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def left_out(run: RunRecord) -> int:
    """Number of damaged images that a run skipped; known once it has ended."""
    images = (run.summary or {}).get("images") or {}
    return int(images.get("left_out", 0))


def test_images(run: RunRecord) -> int | None:
    """Number of test images of a run; None if it is not known."""
    images = (run.summary or {}).get("images") or {}
    if "test" in images:
        return int(images["test"])
    # Before a run has ended, and of those that earlier versions kept.
    return dataset_card(run.spec.dataset).test_count if run.spec.own is None else None


def accuracy_difference(ours: Outcome, theirs: Outcome) -> Difference | None:
    """The difference of the accuracies of two outcomes of one task: paired over common seeds, or if
    there are fewer than two, by the size of the test set; None without accuracies."""
    paired = seeds_difference(ours.accuracies, theirs.accuracies)
    if paired is not None:
        return paired
    a, b = ours.mean("accuracy"), theirs.mean("accuracy")
    if a is None or b is None:
        return None
    count = ours.test_images if ours.test_images == theirs.test_images else None
    return runs_difference(a, b, count)


def single_outcomes(runs: Iterable[RunRecord]) -> list[Outcome]:
    """One outcome per run, with unique labels."""
    return _labelled([(run,) for run in runs], with_seed=True)


def outcomes_by_seed(runs: Iterable[RunRecord]) -> list[Outcome]:
    """One outcome per group of runs that differ only in their seed, newest group first."""
    alike: dict[RunSpec, list[RunRecord]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.created_at, reverse=True):
        alike[without_seed(run.spec)].append(run)
    return _labelled([tuple(group) for group in alike.values()], with_seed=False)


def without_seed(spec: RunSpec) -> RunSpec:
    """The same specification at seed 0, with defaults for what does not affect the outcome: the
    probing intervals, and the method of a linear probe."""
    changes: dict[str, Any] = {"seed": 0, **PROBING_SETTINGS}
    if spec.layers == 0:
        changes["method"] = Vanilla()
    return spec.model_copy(update=changes)


def by_seed(runs: Sequence[RunRecord], name: str) -> dict[int, float]:
    """A measure of completed runs, given newest first, by seed: the newest of a seed counts."""
    found: dict[int, float] = {}
    for run in runs:
        value = measure(run, name)
        if run.status == "completed" and value is not None:
            found.setdefault(run.spec.seed, value)
    return found


def spread(runs: Sequence[RunRecord], name: str) -> Spread | None:
    """Mean and deviation of a measure over the seeds of completed runs, given newest first."""
    values = list(by_seed(runs, name).values())
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def _labelled(groups: list[tuple[RunRecord, ...]], *, with_seed: bool) -> list[Outcome]:
    """Outcomes with unique labels that contain no more than is needed."""
    depths = {_layers(runs[0].spec) for runs in groups if runs[0].spec.layers != 0}
    labels = [
        _label(runs[0].spec, with_layers=len(depths) > 1, with_seed=with_seed) for runs in groups
    ]
    twice = {label for label in labels if labels.count(label) > 1}
    return [
        Outcome(
            f"{label} ({runs[0].id})" if label in twice else label,
            kind_of(runs[0].spec),
            runs,
            {name: found for name in MEASURES if (found := spread(runs, name)) is not None},
        )
        for label, runs in zip(labels, groups, strict=True)
    ]


def _label(spec: RunSpec, *, with_layers: bool, with_seed: bool) -> str:
    parts = [HEAD_LABEL if spec.layers == 0 else spec.method.settings_label]
    if with_layers and spec.layers != 0:
        parts.append(_layers(spec))
    if with_seed:
        parts.append(f"seed {spec.seed}")
    return ", ".join(parts)


def _layers(spec: RunSpec) -> str:
    count = model_card(spec.model).layer_count if spec.layers == "all" else spec.layers
    return layer_count(count)
