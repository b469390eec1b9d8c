"""Validity of rows of a run: counts by formula are optional, and checked if present."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.probes import check_events
from asi_core.runs.validity.rows import check_outcome, problem_of
from asi_core.runs.validity.specs import InvalidRun
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.spec import RunSpec
from tests.runs.kept import events, keep, spec

COUNTS = ("activation_bytes", "forward_macs", "overhead_macs", "backward_macs")


@pytest.fixture
def nonzero(plugins: None) -> RunSpec:
    return spec({"kind": "nonzero"})


@pytest.fixture
def run(nonzero: RunSpec) -> RunRecord:
    """A completed run without counts by formula."""
    (kept,) = keep(RunStore(read_settings().database_url), [nonzero], [0.9], [None])
    return kept


def changed(happened: list[Event], step: int, **values: Any) -> list[Event]:
    return [
        event.model_copy(update=values) if (event.kind, event.step) == ("step", step) else event
        for event in happened
    ]


def test_a_run_without_counts_by_formula_is_valid(run: RunRecord, nonzero: RunSpec) -> None:
    check_events(nonzero, events(nonzero, 0.9, None))
    check_outcome(run)
    assert run.summary is not None
    assert run.summary["activation_bytes"] is run.summary["macs"]["total"] is None


@pytest.mark.parametrize("name", COUNTS)
def test_present_counts_are_checked_if_others_are_missing(nonzero: RunSpec, name: str) -> None:
    happened = changed(events(nonzero, 0.9, None), 3, **{name: -1})
    with pytest.raises(InvalidRun, match=f"{name} of step events is -1"):
        check_events(nonzero, happened)


def test_measurements_may_not_be_missing(run: RunRecord) -> None:
    assert run.summary is not None
    lacking = replace(run, summary={**run.summary, "measured_saved_bytes": None})
    assert problem_of(lacking) == "its summary lacks measured saved bytes"


def test_a_count_of_0_is_invalid_for_a_trained_layer(run: RunRecord) -> None:
    assert run.summary is not None
    nothing = replace(run, summary={**run.summary, "activation_bytes": 0})
    assert "activation bytes of its summary is 0" in str(problem_of(nothing))


def test_a_plan_of_biases_alone_keeps_nothing(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    sparse = spec({"kind": "sparse", "weight_budget_bytes": 1})
    (kept,) = keep(RunStore(read_settings().database_url), [sparse], [0.9], [0])
    assert kept.summary is not None
    assert kept.summary["activation_bytes"] == 0
    check_outcome(kept)
    check_events(sparse, events(sparse, 0.9, 0))


def test_ranks_are_valid_only_for_methods_with_ranks(nonzero: RunSpec) -> None:
    happened = events(nonzero, 0.9, None)
    probe = happened[-1]
    assert probe.kind == "probe"
    ranks = tuple(1 for _ in probe.layers[0].shape)
    layer = probe.layers[0].model_copy(update={"ranks": ranks})
    with pytest.raises(InvalidRun, match="ranks where Non-zero input has none"):
        check_events(nonzero, [*happened[:-1], probe.model_copy(update={"layers": (layer,)})])
