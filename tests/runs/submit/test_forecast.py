from __future__ import annotations

import pytest

from asi_core.costs.estimate import estimate
from asi_core.methods import Vanilla
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.forecast import forecast
from asi_core.training.spec import RunSpec
from tests.runs.kept import asi, keep, spec

TEST_IMAGES = 1000


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def expected(spec: RunSpec, step_seconds: float, *, probed: bool = True) -> float:
    """Seconds of a run like those of `tests.runs.kept`: a probe of 10 ms per 20 steps, and a
    forward pass that takes 2/5 of a step."""
    probes = 0.01 / (20 * step_seconds) if probed else 0
    evaluation = TEST_IMAGES / spec.batch_size * 0.4 * step_seconds
    return spec.steps * step_seconds * (1 + probes) + 10 * evaluation


def vanilla_macs(spec: RunSpec) -> int:
    return estimate(
        spec.model,
        Vanilla(),
        layers=spec.layers,
        batch_size=spec.batch_size,
        image_size=spec.image_size,
        convention="exact",
    ).macs.total


def test_without_measurements_the_sentence_says_so() -> None:
    found = forecast([spec(), asi(0.8)], [])
    assert (found.seconds, found.unknown) == (0, 2)
    assert found.sentence.startswith("No measured step yet")


def test_equal_runs_take_the_median(store: RunStore) -> None:
    known = [
        run
        for seconds in (0.1, 0.2, 0.9)
        for run in keep(store, [asi(0.4)], [0.9], [100], step_seconds=seconds)
    ]
    asked = asi(0.8, seed=3, steps=50)
    found = forecast([asked, asked], known)
    assert found.seconds == pytest.approx(2 * expected(asked, 0.2))
    assert found.counts == {"here": 2, "elsewhere": 0, "scaled": 0}
    assert "2 like runs measured here." in found.sentence


def test_local_measurements_are_preferred_to_examples(store: RunStore) -> None:
    shipped = keep(store, [asi(0.4)], [0.9], [100], owner=EXAMPLE_OWNER, step_seconds=0.5)
    found = forecast([asi(0.8)], shipped)
    assert found.counts["elsewhere"] == 1
    assert "on another machine" in found.sentence
    own = keep(store, [asi(0.6)], [0.9], [100], step_seconds=0.1)
    found = forecast([asi(0.8)], [*shipped, *own])
    assert found.counts["here"] == 1
    assert found.seconds == pytest.approx(expected(asi(0.8), 0.1))


@pytest.mark.parametrize("changes", [{"layers": 2}, {"batch_size": 32}, {"image_size": 64}])
def test_other_sizes_are_scaled_by_macs_and_the_sentence_says_so(
    store: RunStore, changes: dict[str, int]
) -> None:
    known = keep(store, [asi(0.4)], [0.9], [100], step_seconds=0.1)
    asked = asi(0.8, **changes)
    found = forecast([asked], known)
    ratio = vanilla_macs(asked) / vanilla_macs(known[0].spec)
    steps = 20 * 0.1 * (1 + 0.01 / 2)
    evaluation = 10 * TEST_IMAGES / 64 * 0.04 * (64 / asked.batch_size)
    assert ratio < 1
    assert found.seconds == pytest.approx(ratio * (steps + evaluation))
    assert found.counts["scaled"] == 1
    assert "scaled by multiply-accumulates" in found.sentence


def test_the_same_method_is_nearer_than_the_same_size(store: RunStore) -> None:
    known = keep(store, [spec()], [0.9], [100], step_seconds=0.1)
    known += keep(store, [asi(0.4, layers=2)], [0.9], [100], step_seconds=0.7)
    found = forecast([asi(0.8)], known)
    ratio = vanilla_macs(known[0].spec) / vanilla_macs(known[1].spec)
    assert found.seconds == pytest.approx(ratio * expected(asi(0.8), 0.7))


def test_unknown_runs_are_counted_separately(store: RunStore) -> None:
    known = keep(store, [asi(0.4)], [0.9], [100])
    found = forecast([asi(0.8), spec(layers=0), spec(model="resnet18")], known)
    assert (found.counts["here"], found.unknown) == (1, 2)
    assert "2 without any measured step" in found.sentence


def test_a_linear_probe_is_forecast_from_linear_probes(store: RunStore) -> None:
    known = keep(store, [spec(layers=0, batch_size=32)], [0.8], [0], step_seconds=0.01)
    asked = spec(layers=0)
    found = forecast([asked, spec()], known)
    assert found.unknown == 1
    assert found.seconds == pytest.approx(2 * expected(asked, 0.01, probed=False))


def test_only_completed_runs_are_used(store: RunStore) -> None:
    assert forecast([spec()], store.create([spec()], "me")).unknown == 1
