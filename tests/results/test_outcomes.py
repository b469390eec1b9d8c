from __future__ import annotations

from statistics import stdev

import pytest

from asi_core.records import HEAD_KIND
from asi_core.results.differences import changed_recipe, differing_settings, task_of
from asi_core.results.outcomes import measure, outcomes_by_seed, single_outcomes
from asi_core.runs.store.run_store import RunStore
from tests.runs.kept import asi, fail, keep, spec


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def test_measures_are_those_of_the_summary(store: RunStore) -> None:
    (run,) = keep(store, [asi(0.8)], [0.9], [1000], step_seconds=0.5)
    values = {name: measure(run, name) for name in ("accuracy", "activation_bytes", "saved_bytes")}
    expected = {"accuracy": 0.9, "activation_bytes": 1000, "saved_bytes": 501_000}
    assert values == pytest.approx(expected)
    assert measure(run, "step_seconds") == pytest.approx(0.5)
    assert measure(run, "macs") == 3_010_000_000
    (queued,) = store.create([spec()], "me")
    assert measure(queued, "accuracy") is None


def test_seeds_are_grouped_with_mean_and_sample_deviation(store: RunStore) -> None:
    specs = [asi(0.8, seed=seed) for seed in (0, 1, 2)]
    runs = keep(store, [*specs, asi(0.9)], [0.8, 0.83, 0.9, 0.7], [100, 200, 300, 400])
    grouped = {outcome.label: outcome for outcome in outcomes_by_seed(runs)}
    assert list(grouped) == ["ASI, 80 % variance", "ASI, 90 % variance"]
    found = grouped["ASI, 80 % variance"]
    assert found.seeds == (0, 1, 2)
    accuracy = found.measures["accuracy"]
    assert accuracy.mean == pytest.approx((0.8 + 0.83 + 0.9) / 3)
    assert accuracy.deviation == pytest.approx(stdev([0.8, 0.83, 0.9]))
    assert accuracy.count == 3
    alone = grouped["ASI, 90 % variance"].measures["accuracy"]
    assert (alone.deviation, alone.count) == (None, 1)


def test_of_several_runs_with_one_seed_the_newest_counts(store: RunStore) -> None:
    old = keep(store, [spec(), spec(seed=1)], [0.5, 0.6], [100, 100])
    new = keep(store, [spec()], [0.7], [100])
    (outcome,) = outcomes_by_seed([*old, *new])
    assert outcome.measures["accuracy"].mean == pytest.approx(0.65)
    assert outcome.measures["accuracy"].count == 2
    assert len(outcome.runs) == 3


def test_only_completed_runs_are_in_means(store: RunStore) -> None:
    kept = keep(store, [spec()], [0.9], [100])
    failed, waiting = store.create([spec(seed=1), spec(seed=2)], "me")
    fail(store, failed, "it broke.")
    (outcome,) = outcomes_by_seed([*kept, store.run(failed.id), waiting])  # type: ignore[list-item]
    assert outcome.measures["accuracy"].count == 1
    assert outcome.seeds == (0, 1, 2)
    (alone,) = outcomes_by_seed([waiting])
    assert alone.measures == {}
    assert alone.mean("accuracy") is None


def test_linear_probes_are_one_outcome_whatever_their_method(store: RunStore) -> None:
    runs = store.create([spec(layers=0), asi(0.8, layers=0, seed=1)], "me")
    (outcome,) = outcomes_by_seed(runs)
    assert (outcome.label, outcome.kind) == ("Linear probe (head only)", HEAD_KIND)


def test_probing_intervals_do_not_separate_outcomes(store: RunStore) -> None:
    runs = keep(store, [spec(), spec(seed=1, probe_every=5, evaluate_every=7)], [0.8, 0.9], [1, 1])
    (outcome,) = outcomes_by_seed(runs)
    assert outcome.measures["accuracy"].count == 2


def test_labels_are_unique_and_short(store: RunStore) -> None:
    runs = store.create([spec(), asi(0.8), asi(0.8, layers=2), asi(0.8, layers=1)], "me")
    assert [o.label for o in outcomes_by_seed(runs[:2])] == ["Vanilla", "ASI, 80 % variance"]
    assert [o.label for o in outcomes_by_seed(runs)] == [
        "Vanilla, 4 layers",
        "ASI, 80 % variance, 4 layers",
        "ASI, 80 % variance, 2 layers",
        "ASI, 80 % variance, 1 layer",
    ]
    assert single_outcomes(runs[:1])[0].label == "Vanilla, seed 0"
    twins = single_outcomes(store.create([spec(), spec()], "me"))
    assert len({outcome.label for outcome in twins}) == 2


def test_only_settings_that_differ_are_listed() -> None:
    filtered = spec({"kind": "gradient_filter", "patch": 4})
    assert differing_settings([asi(0.8), asi(0.9, seed=1), filtered]) == {
        "method": ["asi", "asi", "gradient_filter"],
        "explained_variance": [0.8, 0.9, None],
        "seed": [0, 1, 0],
        "patch": [None, None, 4],
    }
    paper = {"kind": "asi", "explained_variance": 0.8, "sequential": False}
    assert differing_settings([asi(0.8), spec(paper)]) == {
        "sequential": [True, False],
        "update": ["when_needed", "every_step"],
    }
    assert differing_settings([spec(), spec()]) == {}


def test_a_task_is_model_images_and_recipe() -> None:
    assert task_of(asi(0.8, layers=2, seed=3, probe_every=5)) == task_of(spec())
    for change in ({"steps": 21}, {"model": "resnet18"}, {"momentum": 0.9}, {"pretrained": False}):
        assert task_of(spec(**change)) != task_of(spec())
    assert changed_recipe(spec(momentum=0.9, layers=2)) == {"momentum": 0.9}
