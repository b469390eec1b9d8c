from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asi_core.errors import InvalidInput, one_sentence
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import MOST_RUNS_AT_ONCE
from asi_core.runs.submit.sweeps import (
    MOST_RUNS_OF_A_SWEEP,
    Sweep,
    cancel_all,
    in_working_order,
    request_sweep,
)
from asi_core.training.spec import RunSpec
from tests.runs.kept import asi, spec


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def what(sweep: Sweep) -> list[tuple[Any, ...]]:
    return [(s.method.settings_label, s.layers, s.seed) for s in sweep.specs()]


def test_every_combination_is_one_run_with_its_references() -> None:
    sweep = Sweep(explained_variances=(0.4, 0.8), layers=(2, 4), seeds=(0, 1))
    assert what(sweep) == [
        run
        for seed in (0, 1)
        for run in [
            ("Vanilla", 0, seed),
            ("Vanilla", 2, seed),
            ("ASI, 40 % variance", 2, seed),
            ("ASI, 80 % variance", 2, seed),
            ("Vanilla", 4, seed),
            ("ASI, 40 % variance", 4, seed),
            ("ASI, 80 % variance", 4, seed),
        ]
    ]


def test_each_method_is_run_at_its_own_settings() -> None:
    sweep = Sweep(
        methods=("vanilla", "asi", "hosvd", "gradient_filter"),
        ranks=(4, (8, 8, 2, 2)),
        explained_variances=(0.8,),
        patches=(2, 4),
        references=False,
    )
    assert [label for label, *_ in what(sweep)] == [
        "Vanilla",
        "ASI, rank 4",
        "ASI, rank 8·8·2·2",
        "ASI, 80 % variance",
        "HOSVD, rank 4",
        "HOSVD, rank 8·8·2·2",
        "HOSVD, 80 % variance",
        "Gradient filter, patch 2",
        "Gradient filter, patch 4",
    ]


def test_all_runs_share_the_base() -> None:
    base = spec(model="resnet18", steps=7, momentum=0.5, layers=1, seed=9)
    for run in Sweep(base=base, ranks=(4,)).specs():
        assert (run.model, run.steps, run.momentum, run.seed) == ("resnet18", 7, 0.5, 0)


axes = st.fixed_dictionaries(
    {
        "methods": st.lists(st.sampled_from(["vanilla", "asi", "hosvd"]), max_size=4),
        "ranks": st.lists(st.integers(1, 3), min_size=1, max_size=3),
        "layers": st.lists(st.integers(0, 3), min_size=1, max_size=3),
        "seeds": st.lists(st.integers(0, 2), min_size=1, max_size=3),
        "references": st.booleans(),
    }
)


@given(axes)
def test_no_run_comes_twice_and_none_is_missing(axes: dict[str, Any]) -> None:
    expected = set()
    for seed in axes["seeds"]:
        for layers in axes["layers"]:
            if axes["references"]:
                expected |= {("vanilla", None, 0, seed), ("vanilla", None, layers, seed)}
            for kind in axes["methods"]:
                ranks = [None] if kind == "vanilla" else axes["ranks"]
                expected |= {(kind, rank, layers, seed) for rank in ranks}
    sweep = Sweep.model_validate(axes)
    if not 1 <= len(expected) <= MOST_RUNS_OF_A_SWEEP:
        with pytest.raises(InvalidInput, match=f"1 to 40 runs, got {len(expected)}"):
            sweep.specs()
        return
    specs = sweep.specs()
    found = [(s.method.kind, getattr(s.method, "ranks", None), s.layers, s.seed) for s in specs]
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "a sweep of ASI needs explained variances or ranks or budgets, got none"),
        ({"methods": ["gradient_filter"], "patches": []}, "needs patches, got none"),
        ({"methods": ["nothing"]}, "method must be a known one, got 'nothing'"),
        ({"ranks": [4], "seeds": []}, "a sweep needs seeds, got none"),
        ({"ranks": [4], "layers": []}, "a sweep needs layers, got none"),
        ({"methods": [], "references": False}, "must have 1 to 40 runs, got 0: choose a method"),
        ({"ranks": list(range(1, 50))}, "1 to 40 runs, got 51: choose fewer values"),
        ({"explained_variances": [1.5]}, "above 0 and at most 1, got 1.5"),
        ({"ranks": [4], "layers": [50]}, "trained layers must be at most 49"),
    ],
)
def test_invalid_sweeps_are_refused(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises((InvalidInput, ValidationError)) as refusal:
        Sweep.model_validate(fields).specs()
    assert expected in one_sentence(refusal.value)


def test_a_sweep_survives_json() -> None:
    sweep = Sweep(ranks=(4, (8, 8, 2, 2)), layers=(2, "all"))
    assert Sweep.model_validate_json(sweep.model_dump_json()) == sweep


def test_a_sweep_is_one_comparison(store: RunStore) -> None:
    """Of more runs than a form starts at once: each rank, vanilla and the linear probe."""
    sweep = Sweep(ranks=tuple(range(1, MOST_RUNS_AT_ONCE + 1)))
    runs = request_sweep(store, sweep, "me")
    assert len(runs) == MOST_RUNS_AT_ONCE + 2
    assert len({run.comparison for run in runs}) == 1
    assert [run.spec for run in runs] == sweep.specs()
    assert request_sweep(store, sweep, "me") == runs


def test_linear_probes_are_executed_last(store: RunStore) -> None:
    runs = request_sweep(store, Sweep(ranks=(1, 2), seeds=(0, 1)), "me")
    assert [run.spec.layers for run in in_working_order(runs)] == [4] * 6 + [0] * 2


def test_all_of_a_sweep_is_cancelled_and_nothing_else(store: RunStore) -> None:
    runs = request_sweep(store, Sweep(ranks=(1, 2)), "me")
    (other,) = store.create([asi(0.8)], "me")
    store.attempts.claim(runs[0].id)
    store.request_cancel(runs[3].id)
    assert cancel_all(store, runs[0].comparison) == 3
    after = store.comparison(runs[0].comparison)
    assert [run.status for run in after] == ["running", *["cancelled"] * 3]
    assert store.cancel_requested(runs[0].id)
    assert store.run(other.id).status == "queued"  # type: ignore[union-attr]
    assert RunSpec.model_validate(other.spec.model_dump()) == other.spec
