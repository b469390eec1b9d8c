"""The order in which a run is stored: events first, then the checkpoint after them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy.exc import OperationalError

from asi_core.runs.engine.reporter import Reporter
from asi_core.runs.store.checkpoint_files import final_path
from asi_core.runs.store.run_store import RunStore
from asi_core.training.checkpoint import TrainingState, read_state
from asi_core.training.events import EvaluationEvent
from asi_core.training.spec import RunSpec
from tests.runs.losing import lose_all
from tests.waiting import wait_for

SPEC = RunSpec.model_validate({"method": {"kind": "vanilla"}, "steps": 10})


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def point(step: int, accuracy: float = 0.5) -> EvaluationEvent:
    return EvaluationEvent(step=step, accuracy=accuracy, loss=1.0)


def state(step: int) -> TrainingState:
    return TrainingState(SPEC, step, {"model.weight": torch.ones(2)})


def begun(store: RunStore, folder: Path) -> tuple[str, str, Path, Reporter]:
    """A running run, its token, its checkpoint and its reporter, without heartbeats."""
    (run,) = store.create([SPEC], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    path = folder / run.id / "state"
    return run.id, token, path, Reporter(store, run.id, token, path)


def test_a_checkpoint_waits_for_its_events(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _, path, reporter = begun(store, tmp_path)
    reporter.add(point(1))
    reporter.keep(state(1))

    def silent(*arguments: Any, **keywords: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr(store, "append", silent)
    with pytest.raises(OperationalError):
        reporter._flush()
    assert not path.exists()
    monkeypatch.undo()
    reporter._flush()
    wait_for(path.exists, 10, "the checkpoint")
    assert store.events(run_id, "evaluation") == [point(1)]
    # A later attempt resumes from a later step.
    wait_for(lambda: store.attempts.running()[0].tries == 0, 10, "the gain")


def test_a_checkpoint_waits_for_events_added_during_a_write(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _, path, reporter = begun(store, tmp_path)
    reporter.add(point(1))
    write = store.append

    def slow(*arguments: Any, **keywords: Any) -> None:
        monkeypatch.setattr(store, "append", write)
        write(*arguments, **keywords)
        reporter._all.append(point(2))
        reporter.keep(state(2))

    monkeypatch.setattr(store, "append", slow)
    reporter._flush()
    assert len(store.events(run_id, "evaluation")) == 1
    assert not path.exists(), "its events are not stored yet"
    reporter._flush()
    assert len(store.events(run_id, "evaluation")) == 2
    wait_for(path.exists, 10, "the checkpoint")


def test_heartbeats_continue_while_a_slow_disk_writes_a_checkpoint(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, _, reporter = begun(store, tmp_path)
    written, disk = [], threading.Event()

    def slow(state: TrainingState, path: Path) -> None:
        written.append(state.step)
        assert disk.wait(30)

    monkeypatch.setattr("asi_core.runs.engine.reporter.write_state", slow)

    def beats() -> float:
        return store.attempts.running()[0].heartbeat_at

    with reporter:
        reporter.keep(state(1))
        wait_for(lambda: written == [1], 10, "the first checkpoint")
        for step in (2, 3):
            reporter.keep(state(step))
            before = beats()
            wait_for(lambda before=before: beats() > before, 10, "a beat")
        assert written == [1], "one at a time"
        disk.set()
        wait_for(lambda: written == [1, 3], 10, "the latest, and no other")


def test_only_new_steps_count_as_progress(store: RunStore, tmp_path: Path) -> None:
    """Otherwise a run that starts over and kills its process would repeat that forever."""
    run_id, _, path, reporter = begun(store, tmp_path)
    reporter.add(point(5))
    reporter.gains_beyond(5)
    for step, tries in ((5, 1), (6, 0)):
        reporter.keep(state(step))
        reporter._flush()
        wait_for(reporter._checkpoint_written.done, 10, "the checkpoint")  # type: ignore[union-attr]
        assert store.attempts.running()[0].tries == tries
    assert path.exists()
    assert store.last_step(run_id) == 5


def test_an_ended_run_keeps_no_checkpoint(store: RunStore, tmp_path: Path) -> None:
    run_id, _, path, reporter = begun(store, tmp_path)
    reporter.add(point(1))
    reporter.keep(state(1))
    reporter._flush()
    reporter.end("completed", None)
    assert not path.parent.exists()
    ended = store.run(run_id)
    assert ended is not None
    assert (ended.status, ended.summary is not None) == ("completed", True)


@pytest.mark.parametrize(("room", "kept"), [(10**6, True), (10, False), (0, False)])
def test_a_completed_run_keeps_its_last_state_as_far_as_there_is_room(
    store: RunStore, tmp_path: Path, room: int, kept: bool
) -> None:
    run_id, token, path, _ = begun(store, tmp_path)
    reporter = Reporter(store, run_id, token, path, final_bytes=room)
    for step in (5, SPEC.steps):
        reporter.keep(state(step))
        reporter._flush()
    reporter.end("completed", None)
    final = final_path(tmp_path, run_id)
    assert path.parent.exists() == final.exists() == kept
    if kept:
        found = read_state(final, SPEC, torch.device("cpu"))
        assert found is not None
        assert found.step == SPEC.steps
        assert list(path.parent.iterdir()) == [final]


def test_a_cancelled_run_keeps_no_state(store: RunStore, tmp_path: Path) -> None:
    run_id, token, path, _ = begun(store, tmp_path)
    reporter = Reporter(store, run_id, token, path, final_bytes=10**6)
    reporter.keep(state(SPEC.steps))
    reporter.end("cancelled", None)
    assert not path.parent.exists()


def test_a_full_disk_costs_the_last_state_only(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asi_core.runs.engine.reporter.write_state", full)
    run_id, token, path, _ = begun(store, tmp_path)
    reporter = Reporter(store, run_id, token, path, final_bytes=10**6)
    reporter.keep(state(SPEC.steps))
    reporter.end("completed", None)
    ended = store.run(run_id)
    assert ended is not None
    assert ended.status == "completed"
    assert "the run cannot be lengthened" in store.log_tail(run_id, 1)[0].text


def test_a_later_attempt_replaces_the_rows_that_it_measures_again(store: RunStore) -> None:
    (run,) = store.create([SPEC], "me")
    first = store.attempts.claim(run.id)
    assert first is not None
    store.append(run.id, first, [point(step, 0.1) for step in (1, 2, 3)])
    assert lose_all(store) == 1
    second = store.attempts.claim(run.id)
    assert second is not None
    store.append(run.id, second, [point(2, 0.2)])
    found = store.events(run.id, "evaluation")
    assert [(e.step, e.accuracy) for e in found] == [(1, 0.1), (2, 0.2), (3, 0.1)]  # type: ignore[union-attr]


def test_a_write_whose_confirmation_was_lost_may_be_repeated(
    store: RunStore, tmp_path: Path
) -> None:
    from asi_core.runs.records import LogLine

    run_id, token, _, _ = begun(store, tmp_path)
    line = {0: LogLine(1.0, "info", "once")}
    for _ in range(2):
        store.append(run_id, token, [point(1)], line)
    assert len(store.events(run_id, "evaluation")) == 1
    assert [line.text for line in store.log_tail(run_id, 9)] == ["once"]
