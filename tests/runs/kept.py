"""Stored runs as a worker leaves them, made without training and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

from asi_core.costs.timeline.records import Category, Lifetime, Moment, Timeline
from asi_core.records import LayerShape
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import (
    EvaluationEvent,
    Event,
    LayerProbe,
    PreparedEvent,
    ProbeEvent,
    StepEvent,
    TimelineEvent,
)
from asi_core.training.spec import RunSpec
from asi_core.training.summary import summarise
from asi_core.zoo.shapes import trained_layer_shapes

VANILLA = {"kind": "vanilla"}


def spec(method: dict[str, Any] | None = None, **changes: Any) -> RunSpec:
    """A short run of the default model."""
    return RunSpec.model_validate({"method": method or VANILLA, "steps": 20, **changes})


def asi(share: float, **changes: Any) -> RunSpec:
    return spec({"kind": "asi", "explained_variance": share}, **changes)


def events(
    spec: RunSpec, accuracy: float, kept_bytes: int | None, step_seconds: float = 0.02
) -> list[Event]:
    """Events of a run that ends at `accuracy` and keeps `kept_bytes` by formula (None: without
    closed form)."""
    made: list[Event] = [
        PreparedEvent(
            step=0,
            layers=() if spec.layers == 0 else (last_layer(spec),),
            trained_parameters=10,
            frozen_values=10,
            device="cpu",
            threads=2,
        )
    ]
    for step in range(1, spec.steps + 1):
        made.append(_step(step, kept_bytes, step_seconds))
        if step % spec.evaluation_interval == 0:
            reached = accuracy * (1 - exp(-4 * step / spec.steps)) / (1 - exp(-4))
            made.append(EvaluationEvent(step=step, accuracy=reached, loss=1 - reached))
    if spec.layers != 0:
        made.append(_probe(spec))
    return made


def step_timeline(nbytes: int = 4096) -> TimelineEvent:
    """The memory of a second step that adds `nbytes` at its peak."""
    moments = (Moment("forward", "fc", "addmm", 0), Moment("backward", "fc", "mm", 0))
    kept = Lifetime(nbytes, Category.TRAINED_INPUTS, "fc", first=0, end=2)
    return TimelineEvent.of(2, Timeline("measured", "cpu", moments, (kept,)))


def keep(
    store: RunStore,
    specs: Sequence[RunSpec],
    accuracies: Sequence[float],
    kept_bytes: Sequence[int | None],
    *,
    owner: str = "local",
    step_seconds: float = 0.02,
) -> list[RunRecord]:
    """A comparison of completed runs."""
    runs = store.create(specs, owner)
    for run, accuracy, size in zip(runs, accuracies, kept_bytes, strict=True):
        token = store.attempts.claim(run.id)
        assert token is not None
        made = events(run.spec, accuracy, size, step_seconds)
        store.append(run.id, token, made)
        store.finish(run.id, token, "completed", summarise(made))
    return store.comparison(runs[0].comparison)


def fail(store: RunStore, run: RunRecord, error: str) -> None:
    """End a queued run as if it failed at its start."""
    token = store.attempts.claim(run.id)
    assert token is not None
    store.finish(run.id, token, "failed", summarise([]), error)


def keep_usual(store: RunStore, seeds: Sequence[int] = (0, 1)) -> list[RunRecord]:
    """The linear probe, vanilla and ASI at three explained variances, for each seed."""
    specs, accuracies, sizes = [], [], []
    for seed in seeds:
        shift = 0.004 * seed
        for method, accuracy, size in (
            (spec(layers=0, seed=seed), 0.80, 0),
            (spec(seed=seed), 0.87, 1_000_000),
            (asi(0.4, seed=seed), 0.82, 4_000),
            (asi(0.8, seed=seed), 0.865, 20_000),
            (asi(0.9, seed=seed), 0.86, 100_000),
        ):
            specs.append(method)
            accuracies.append(accuracy + shift)
            sizes.append(size)
    return keep(store, specs, accuracies, sizes)


def _step(step: int, kept_bytes: int | None, step_seconds: float) -> StepEvent:
    counts: dict[str, Any] = {}
    if kept_bytes is not None:
        overhead = 10**7 if kept_bytes < 10**6 else 0
        counts = {"activation_bytes": kept_bytes, "overhead_macs": overhead}
        counts |= {"forward_macs": 10**9, "backward_macs": 2 * 10**9}
    return StepEvent(
        step=step,
        loss=2 / step + 0.1,
        accuracy=0.5,
        learning_rate=0.05,
        prefix_seconds=0.0,
        forward_seconds=0.4 * step_seconds,
        backward_seconds=0.5 * step_seconds,
        update_seconds=0.1 * step_seconds,
        saved_bytes=(kept_bytes or 0) + 500_000,
        **counts,
    )


def _probe(spec: RunSpec) -> ProbeEvent:
    compressed = spec.method.kind in ("asi", "hosvd")
    shape = last_layer(spec).input_shape
    layer = LayerProbe(
        name=last_layer(spec).name,
        shape=shape,
        ranks=(4, *(2 for _ in shape[1:])) if compressed else None,
        singular_values=tuple((3.0 if mode < 2 else 2.0, 1.0) for mode in range(len(shape))),
        captured_energy=0.75 if compressed else None,
        gradient_cosine=0.9 if compressed else None,
    )
    return ProbeEvent(step=spec.steps, layers=(layer,), seconds=0.01)


def last_layer(spec: RunSpec) -> LayerShape:
    """The last trained layer of the model."""
    return trained_layer_shapes(spec.model, 1, spec.batch_size, spec.image_size)[-1]
