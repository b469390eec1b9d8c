"""Made-up runs for tests of the lessons, with chosen results."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.methods import ASI, Method, Vanilla
from asi_core.runs.records import Status
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import LayerProbe, ProbeEvent
from asi_core.training.spec import RunSpec
from dashboard.learn.evidence import STUDY

# Squares 81, 9, 9, 1: ranks 1, 2, 3 and 4 hold 81, 90, 99 and 100 % of the energy.
VALUES = (9.0, 3.0, 3.0, 1.0)
LAYERS = ("narrow", "wide")
CAPTURED, BEST = 0.6, 0.8


def probe(name: str, step: int, channels: int) -> LayerProbe:
    """A probe of one layer: captured and best energy as above, all angles 20 degrees."""
    return LayerProbe(
        name=name,
        shape=(8, channels, 4, 4),
        ranks=(2, 2, 2, 2),
        singular_values=(VALUES,) * 4,
        # The first step is cold and must not count.
        captured_energy=CAPTURED if step > 1 else 0.1,
        best_energy=BEST,
        drift_degrees=(20.0,) * 4 if step > 1 else (None,) * 4,
    )


def probes(steps: Sequence[int] = (1, 30, 60)) -> list[ProbeEvent]:
    """A probe of a narrow and a wide layer."""
    return [
        ProbeEvent(step=step, layers=(probe(LAYERS[0], step, 4), probe(LAYERS[1], step, 6)))
        for step in steps
    ]


def add_run(
    store: RunStore,
    spec: RunSpec,
    *,
    events: Sequence[ProbeEvent] = (),
    accuracy: float = 0.9,
    kept: int = 1000,
    saved: int = 5000,
    status: Status = "completed",
    owner: str = "somebody",
) -> None:
    """A completed run with this summary."""
    (run,) = store.create([spec], owner)
    token = store.attempts.claim(run.id)
    assert token is not None
    store.append(run.id, token, events)
    summary = {
        "test_accuracy": accuracy,
        "activation_bytes": kept,
        "measured_saved_bytes": saved,
    }
    store.finish(run.id, token, status, summary)


def add_replay(store: RunStore) -> None:
    """The probed run that lessons replay."""
    add_run(
        store, RunSpec(method=ASI(explained_variance=0.8, update="every_step")), events=probes()
    )


# Trained layers, method, seed, accuracy, bytes by formula and measured.
STUDY_RUNS: tuple[tuple[int, Method, int, float, int, int], ...] = (
    (0, Vanilla(), 0, 0.67, 0, 40_000),
    (1, Vanilla(), 0, 0.68, 2_000_000, 2_400_000),
    (12, Vanilla(), 0, 0.76, 16_000_000, 18_400_000),
    (12, Vanilla(), 1, 0.78, 16_000_000, 18_400_000),
    (1, ASI(explained_variance=0.8, update="every_step"), 0, 0.675, 2_000, 46_000),
    (12, ASI(explained_variance=0.8, update="every_step"), 0, 0.73, 200_000, 800_000),
    (12, ASI(explained_variance=0.8, update="every_step"), 1, 0.74, 200_000, 800_000),
)


def add_study(store: RunStore) -> None:
    """Runs of the study of lesson 4."""
    for layers, method, seed, accuracy, kept, saved in STUDY_RUNS:
        changes = {"method": method, "layers": layers, "seed": seed}
        add_run(store, STUDY.model_copy(update=changes), accuracy=accuracy, kept=kept, saved=saved)
