"""The references of a comparison's runs, and their labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import Description
from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec
from dashboard import history
from dashboard.history import comparison_title, run_labels
from dashboard.train.references import head_of, vanilla_of

VANILLA, ASI = {"kind": "vanilla"}, {"kind": "asi", "ranks": 4}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(f"sqlite:///{tmp_path / 'asi.sqlite'}")


def made(store: RunStore, *fields: dict[str, Any]) -> list[RunRecord]:
    return store.create([RunSpec.model_validate(f) for f in fields], "local")


def test_a_run_is_measured_against_the_one_that_differs_in_the_method_alone(
    store: RunStore,
) -> None:
    runs = made(
        store,
        {"method": VANILLA, "layers": 0},
        {"method": VANILLA, "layers": 2},
        {"method": VANILLA, "layers": 4, "evaluate_every": 7},
        {"method": ASI, "layers": 4},
        {"method": ASI, "layers": 2},
        {"method": ASI, "layers": 1},
        {"method": ASI, "layers": 4, "seed": 1},
        {"method": ASI, "layers": 2, "lean": False},
    )
    assert [vanilla_of(runs, run) for run in runs] == [None, None, None, 2, 1, None, None, None]
    assert [head_of(runs, run) for run in runs] == [None, 0, 0, 0, 0, 0, None, 0]


def test_depths_and_seeds_are_named_where_they_tell_runs_apart(store: RunStore) -> None:
    def labels(*fields: dict[str, Any]) -> list[str]:
        return run_labels(made(store, *fields))

    head = {"method": VANILLA, "layers": 0}
    deep, flat = {"method": ASI, "layers": 4}, {"method": ASI, "layers": 1}
    assert labels(head, deep, flat) == [
        "Linear probe (head only)",
        "ASI, rank 4, 4 layers",
        "ASI, rank 4, 1 layer",
    ]
    assert labels(deep, flat, {**flat, "seed": 1}) == [
        "ASI, rank 4, 4 layers, seed 0",
        "ASI, rank 4, 1 layer, seed 0",
        "ASI, rank 4, 1 layer, seed 1",
    ]
    assert labels(deep, deep) == ["ASI, rank 4 (1)", "ASI, rank 4 (2)"]
    assert labels(head, {**head, "seed": 1}, deep) == [
        "Linear probe (head only), seed 0",
        "Linear probe (head only), seed 1",
        "ASI, rank 4, seed 0",
    ]


def test_a_title_tells_the_depths_of_what_is_trained(store: RunStore) -> None:
    head = {"method": VANILLA, "layers": 0}
    runs = made(store, {"method": ASI, "layers": "all"}, {"method": ASI, "layers": 2}, head)
    assert ", 2 to all layers, " in comparison_title(runs)
    assert ", 2 layers, " in comparison_title(made(store, {"method": ASI, "layers": 2}, head))
    assert ", 0 layers, " in comparison_title(made(store, head))


def test_a_title_says_who_made_it_if_somebody_else_did(store: RunStore) -> None:
    spec = RunSpec.model_validate({"method": VANILLA})
    theirs = store.create([spec], "visitor-0123456789abcdef0123456789abcdef")
    assert comparison_title(theirs).endswith(" · by visitor-0123456789")
    assert " by " not in comparison_title(store.create([spec], "command line"))


def test_names_lead_and_equal_titles_are_told_apart(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (made(store, {"method": ASI, "layers": 2}) for _ in range(3))
    known = {runs[0].comparison: runs for runs in (first, second, third)}
    one, *_ = known
    named = {one: Description("Depth of training")}
    monkeypatch.setattr(history, "library", lambda: SimpleNamespace(descriptions=lambda: named))
    titles = history.comparison_titles(known)
    assert titles[one].startswith("Depth of training · ")
    assert len(set(titles.values())) == 3
