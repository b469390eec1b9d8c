"""Time the steps of the study's settings side by side.

Runs of a study share their machine with other work, so their step times cannot be compared. Here
settings take turns in one process; the medians go into a file beside the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from torch import Tensor

from asi_core.settings import read_settings
from asi_core.training.calibration import plan_ranks_
from asi_core.training.features import FeaturePool
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep
from asi_core.units import GIB

_WARM_UPS = 2


def times_file() -> Path:
    """Where the medians are."""
    return read_settings().home / "equal_memory_times.json"


def key_of(spec: RunSpec) -> str:
    """What identifies a setting in the file."""
    return spec.model_copy(update={"seed": 0}).model_dump_json()


def step_times(specs: Sequence[RunSpec], rounds: int) -> dict[str, float]:
    """Median seconds of a step of each, passes and update; they take turns."""
    pool = FeaturePool(2 * GIB)
    steps = [_Step(spec, pool) for spec in specs]
    found: dict[str, list[float]] = {key_of(step.spec): [] for step in steps}
    for turn in range(_WARM_UPS + rounds):
        for step in steps:
            seconds = step.seconds()
            if turn >= _WARM_UPS:
                found[key_of(step.spec)].append(seconds)
    return {key: median(values) for key, values in found.items()}


class _Step:
    """A network and its first batch."""

    def __init__(self, spec: RunSpec, pool: FeaturePool) -> None:
        setup = TrainingSetup(spec, pool, default_device())
        plan_ranks_(setup, pool)
        self.spec, self._train = spec, TrainingStep(setup)
        values, labels = setup.read(next(setup.batches(0)))
        self._batch: tuple[tuple[Tensor, ...], Tensor] = values, labels

    def seconds(self) -> float:
        stepped = self._train(*self._batch, self.spec.learning_rate)
        return sum(stepped.seconds.values())


def write_times(specs: Iterable[RunSpec], rounds: int) -> None:
    """Time settings, those with the same network and layers in turns, and write the medians."""
    together: dict[tuple[str, object], list[RunSpec]] = {}
    for spec in specs:
        together.setdefault((spec.model, spec.layers), []).append(spec)
    found: dict[str, float] = {}
    for (model, layers), alike in together.items():
        found |= step_times(alike, rounds)
        print(f"{model}, {layers} layers: {len(alike)} settings timed", flush=True)
    times_file().write_text(json.dumps(found), encoding="utf-8")


def read_times() -> Mapping[str, float]:
    """Seconds by `key_of`; empty if nothing was timed."""
    path = times_file()
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
