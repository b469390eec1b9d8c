"""Completed runs are trained on by a worker, with the numbers of runs that were long."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from asi_core.errors import InvalidInput, Unavailable, Unsupported
from asi_core.runs.engine import worker
from asi_core.runs.engine.lengthening import lengthen
from asi_core.runs.records import RunRecord
from asi_core.runs.store.checkpoint_files import final_path
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit import fingerprint, lengthening
from asi_core.runs.submit.lengthening import request_longer
from asi_core.runs.submit.service import request_runs
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images
from tests.own_runs import kept
from tests.training.test_checkpoint import numbers

ASI = {"kind": "asi", "ranks": 4}


def spec(**changes: Any) -> RunSpec:
    """Evaluated after steps 2 and 3, of which a longer run has the first only."""
    small = {"steps": 3, "batch_size": 16, "image_size": 32, "layers": 1, "evaluate_every": 2}
    usual = {"method": ASI, "dataset": few_images(), "schedule": "constant", "optimizer": "adamw"}
    return RunSpec.model_validate({**usual, **small, **changes})


@pytest.fixture
def store() -> RunStore:
    return RunStore(read_settings().database_url)


def trained(store: RunStore, *specs: RunSpec) -> list[RunRecord]:
    return executed(store, request_runs(store, specs, "me", again=True))


def executed(store: RunStore, runs: list[RunRecord]) -> list[RunRecord]:
    for run in runs:
        worker.execute(run.id, store.url)
    return store.comparison(runs[0].comparison)


def told(store: RunStore, run: RunRecord) -> list[Event]:
    return sorted(store.all_events(run.id), key=lambda event: (event.step, event.kind))


def test_a_comparison_goes_on_and_the_old_one_stays(store: RunStore) -> None:
    vanilla = {"method": {"kind": "vanilla"}, "momentum": 0.9, "optimizer": "sgd"}
    old = trained(store, spec(**vanilla), spec())
    before = [(run, told(store, run)) for run in old]
    queued = request_longer(store, old, 6, "me")
    assert [run.begins_from for run in queued] == [run.id for run in old]
    assert {run.comparison for run in queued}.isdisjoint({run.comparison for run in old})
    assert [event.step for event in store.events(queued[1].id, "evaluation")] == [2]
    assert request_longer(store, old, 6, "me") == queued, "a second click"
    longer = executed(store, queued)
    assert {run.status for run in longer} == {"completed"}
    expected = trained(store, *(run.spec for run in longer))
    for ours, theirs in zip(longer, expected, strict=True):
        assert numbers(told(store, ours)) == numbers(told(store, theirs))
        log = [line.text for line in store.log_tail(ours.id, 99)]
        assert f"it begins from the last state of run {ours.begins_from}" in log
        assert "resumed after step 3" in log
        assert ours.summary is not None
        assert theirs.summary is not None
        same = ("steps_done", "test_accuracy", "final_loss", "activation_bytes", "macs")
        assert [ours.summary[name] for name in same] == [theirs.summary[name] for name in same]
        assert ours.summary["seconds"]["total"] > 0
    assert [(run, told(store, run)) for run in store.comparison(old[0].comparison)] == before


def test_a_lengthened_run_and_a_copy_can_be_lengthened_too(store: RunStore) -> None:
    (old,) = trained(store, spec())
    longer = lengthen(old.id, 4)
    (copy,) = request_runs(store, [longer.spec], "another user")
    assert copy.status == "completed"
    assert copy.begins_from == old.id
    (longest,) = executed(store, request_longer(store, [copy], 5, "another user"))
    assert longest.begins_from == longer.id
    assert longest.spec.steps == longest.summary["steps_done"] == 5  # type: ignore[index]
    (again,) = request_longer(store, [longer], 5, "me")
    assert again.status == "completed", "an equal run is copied"


def test_what_cannot_be_lengthened_is_refused_in_one_sentence(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cosine, old = trained(store, spec(schedule="cosine"), spec())
    count = len(store.latest_comparisons(99))
    with pytest.raises(Unsupported, match="the cosine schedule ends with the run"):
        request_longer(store, [old, cosine], 6, "me")
    (waiting,) = store.create([spec(seed=1)], "me")
    with pytest.raises(InvalidInput, match=r"only a completed run .* one that is queued"):
        request_longer(store, [waiting], 6, "me")
    with pytest.raises(InvalidInput, match="a run to lengthen, got none"):
        request_longer(store, [], 6, "me")
    with pytest.raises(InvalidInput, match="the run must be in the store, got 'none'"):
        lengthen("none", 6)
    with pytest.raises(Unsupported, match="only its user's program has"):
        request_longer(store, [kept()], 60, "me")
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "code_version", lambda: "another")
        with pytest.raises(Unavailable, match=r"the code, the images or the weights .* changed"):
            request_longer(store, [old], 6, "me")
    shutil.rmtree(final_path(read_settings().checkpoints_dir, old.id).parent)
    with pytest.raises(Unavailable) as refusal:
        request_longer(store, [old], 6, "me")
    assert str(refusal.value) == (
        f"the checkpoint of run {old.id} is not here, as it was removed to save space, or the run "
        "was trained elsewhere: a longer run from the start has the same numbers."
    )
    # That of the user's own network, and the one that waits.
    assert len(store.latest_comparisons(99)) == count + 2


@pytest.mark.parametrize("lost", ["checkpoint", "run", "code"])
def test_what_is_lost_meanwhile_is_trained_again(
    store: RunStore, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = trained(store, spec())
    queued = request_longer(store, [old], 5, "me")
    if lost == "checkpoint":
        final_path(read_settings().checkpoints_dir, old.id).unlink()
    elif lost == "run":
        RunLibrary(store.url).delete_runs([old.id])
    else:
        monkeypatch.setattr(lengthening, "fingerprints_of", lambda specs: ["another"])
    (longer,) = executed(store, queued)
    (expected,) = trained(store, longer.spec)
    assert numbers(told(store, longer)) == numbers(told(store, expected))
    warnings = [line.text for line in store.log_tail(longer.id, 99) if line.level == "warning"]
    assert len(warnings) == 1
