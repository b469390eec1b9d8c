"""A run that was completed before is not executed again, unless requested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.queueing import FROM_RUN
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit import fingerprint
from asi_core.runs.submit.service import known_runs, request_runs
from asi_core.training.events import EvaluationEvent
from asi_core.training.spec import RunSpec
from tests.datasets.pictures import both_splits, write_folder


def spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, "layers": 1, **changes})


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def completed(store: RunStore, specs: list[RunSpec], owner: str = "me") -> list[RunRecord]:
    runs = request_runs(store, specs, owner, again=True)
    for run in runs:
        token = store.attempts.claim(run.id)
        assert token is not None
        store.append(run.id, token, [EvaluationEvent(step=1, accuracy=0.5, loss=1.0)])
        store.finish(run.id, token, "completed", {"test_accuracy": 0.5})
    return store.comparison(runs[0].comparison)


def test_completed_runs_are_reused(store: RunStore) -> None:
    before = completed(store, [spec(), spec(seed=1)])
    assert known_runs(store, [spec(), spec(seed=1), spec(seed=2)]) == 2
    assert request_runs(store, [spec(), spec(seed=1)], "me") == before
    assert store.active() == []


def test_known_runs_are_copied_among_new_ones(store: RunStore) -> None:
    (before,) = completed(store, [spec()], "another user")
    new, copy = request_runs(store, [spec(seed=1), spec()], "me")
    assert (new.status, copy.status, copy.owner) == ("queued", "completed", "me")
    assert copy.summary == {"test_accuracy": 0.5, FROM_RUN: before.id}
    assert store.events(copy.id, "evaluation") == store.events(before.id, "evaluation")
    assert copy.started_at == before.started_at
    # The copy is a separate run that names its original.
    RunLibrary(store.url).delete_comparison(before.comparison)
    (again, _) = request_runs(store, [spec(), spec(seed=2)], "me")
    assert again.summary == {"test_accuracy": 0.5, FROM_RUN: before.id}
    assert len(store.events(again.id, "evaluation")) == 1


def test_everything_is_executed_again_if_requested(store: RunStore) -> None:
    completed(store, [spec()])
    (again,) = request_runs(store, [spec()], "me", again=True)
    assert again.status == "queued"


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 5}, {"momentum": 0.9}, {"lean": False}])
def test_another_specification_has_another_fingerprint(change: dict[str, Any]) -> None:
    one, other, same = fingerprint.fingerprints_of([spec(), spec(**change), spec()])
    assert one == same != other


def test_other_code_or_images_have_another_fingerprint(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "photos", both_splits(train=16, test=2))
    own = spec(dataset=f"imagefolder:{folder}", batch_size=8)
    completed(store, [spec(), own])
    assert known_runs(store, [spec(), own]) == 2
    for picture in (folder / "train").rglob("15.png"):
        picture.unlink()
    assert known_runs(store, [spec(), own]) == 1
    monkeypatch.setattr(fingerprint, "code_version", lambda: "later")
    assert known_runs(store, [spec(), own]) == 0


def test_failed_and_active_runs_are_not_reused(store: RunStore) -> None:
    (failed,) = request_runs(store, [spec()], "me")
    token = store.attempts.claim(failed.id)
    assert token is not None
    assert known_runs(store, [spec()]) == 0
    store.finish(failed.id, token, "failed", {}, "it broke.")
    assert known_runs(store, [spec()]) == 0


def test_a_second_click_launches_nothing_even_if_some_runs_were_copied(store: RunStore) -> None:
    completed(store, [spec()], "another user")
    first = request_runs(store, [spec(seed=1), spec()], "me")
    assert [run.status for run in first] == ["queued", "completed"]
    assert request_runs(store, [spec(seed=1), spec()], "me") == first
    assert len(store.active()) == 1
