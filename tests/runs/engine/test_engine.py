"""The engine with real worker processes, over both kinds of database."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from sqlalchemy.exc import OperationalError

from asi_core.runs.engine.engine import RunEngine
from asi_core.runs.records import RunRecord
from asi_core.runs.store.attempts import MOST_TRIES
from asi_core.runs.store.checkpoint_files import checkpoint_path, final_path
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.settings import Settings
from asi_core.training.checkpoint import read_state
from asi_core.training.events import Event
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images
from tests.listening import listening_ends
from tests.postgres import fresh_database
from tests.waiting import wait_for


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("engine")
    if request.param == "sqlite":
        yield Settings(home=home, threads=1)
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield Settings(home=home, database_url=url, threads=1)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[RunEngine]:
    engine = RunEngine(settings, silent_seconds=5)
    yield engine
    engine.close()


@pytest.fixture
def store(settings: Settings) -> Iterator[RunStore]:
    store = RunStore(settings.database_url)
    yield store
    store.close()


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 5, "batch_size": 16, "image_size": 32, "layers": 1, **changes}
    # At the end only: evaluations would take most of the time.
    usual = {"dataset": few_images(), "evaluate_every": small["steps"]}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **usual, **small})


def ended(store: RunStore, run_id: str) -> Any:
    run = store.run(run_id)
    return run if run is not None and not run.is_active else None


def launched(engine: RunEngine, store: RunStore, *specs: RunSpec) -> list[RunRecord]:
    runs = store.create(specs, "me")
    for run in runs:
        engine.submit(run.id)
    return runs


def process_of(store: RunStore, run_id: str) -> int:
    """The process that executes a run."""
    (attempt,) = [attempt for attempt in store.attempts.running() if attempt.id == run_id]
    where = WorkerId.read(attempt.worker)
    assert where is not None
    return where.pid


def checkpointed(settings: Settings, run: RunRecord) -> int:
    """The step of a run's checkpoint on disk, which is written by another thread."""
    path = checkpoint_path(settings.checkpoints_dir, run.id)
    state = read_state(path, run.spec, torch.device("cpu"))
    return 0 if state is None else state.step


def numbers(events: list[Event]) -> list[dict[str, Any]]:
    """All measurements except seconds."""
    dumped = [event.model_dump() for event in events]
    return [{k: v for k, v in fields.items() if "seconds" not in k} for fields in dumped]


def kept(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    return numbers(
        [
            e
            for kind in ("prepared", "step", "evaluation", "probe")
            for e in store.events(run_id, kind)
        ]
    )


def test_runs_of_a_comparison_go_side_by_side(engine: RunEngine, store: RunStore) -> None:
    methods = [{"kind": "vanilla"}, {"kind": "asi", "ranks": 4}, {"kind": "gradient_filter"}]
    runs = launched(engine, store, *(spec(method=method, steps=30) for method in methods))
    states = [wait_for(lambda r=run: ended(store, r.id), 90, "the run's end") for run in runs]
    assert {run.status for run in states} == {"completed"}
    begun, done = max(run.started_at for run in states), min(run.finished_at for run in states)
    assert begun < done, "they alternated"


def test_cancelling_takes_effect_within_a_step(engine: RunEngine, store: RunStore) -> None:
    long, short = launched(engine, store, spec(steps=5000), spec(steps=20))
    wait_for(lambda: store.events(long.id, "step"), 60, "the first step")
    store.request_cancel(long.id)
    stopped = wait_for(lambda: ended(store, long.id), 20, "the cancelled run's end")
    assert stopped.status == "cancelled"
    assert 0 < len(store.events(long.id, "step")) < 5000
    assert wait_for(lambda: ended(store, short.id), 60, "the other's end").status == "completed"


def test_rows_queued_before_a_start_are_executed(engine: RunEngine, store: RunStore) -> None:
    (left,) = store.create([spec(steps=2)], "me")
    engine.recover()
    assert wait_for(lambda: ended(store, left.id), 60, "the run's end").status == "completed"


def test_nothing_listens_beyond_loopback(engine: RunEngine) -> None:
    listening = listening_ends()
    assert listening, "at least the scheduler listens"
    assert {end.ip for end in listening} <= {"127.0.0.1", "::1"}


def test_the_worker_keeps_its_memory(engine: RunEngine, settings: Settings) -> None:
    """Dask's own malloc settings made convolutions four times slower."""
    workers = [p for p in psutil.Process(os.getpid()).children(recursive=True) if is_worker(p)]
    assert workers
    environment = workers[0].environ()
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) >= 2**30
    assert int(environment["OMP_NUM_THREADS"]) == settings.threads_each


def test_a_run_whose_worker_is_killed_continues_its_curve(
    engine: RunEngine, store: RunStore, settings: Settings
) -> None:
    what = spec(method={"kind": "asi", "ranks": 4}, steps=400, momentum=0.9, probe_every=20)
    (whole,) = launched(engine, store, what)
    assert (
        wait_for(lambda: ended(store, whole.id), 120, "the undisturbed run").status == "completed"
    )
    (run,) = launched(engine, store, what)
    wait_for(lambda: checkpointed(settings, run) >= 40, 60, "a checkpoint of some steps")
    os.kill(process_of(store, run.id), signal.SIGKILL)
    again = wait_for(lambda: ended(store, run.id), 120, "the run's end")
    assert (again.status, again.attempt) == ("completed", 2)
    assert kept(store, run.id) == kept(store, whole.id)
    assert again.summary["test_accuracy"] == ended(store, whole.id).summary["test_accuracy"]
    message = [line.text for line in store.log_tail(run.id, 100)]
    (resumed,) = [text for text in message if text.startswith("resumed after step")]
    assert int(resumed.split()[-1]) >= 40, "most of what was done is not done again"
    final = final_path(settings.checkpoints_dir, run.id)
    wait_for(lambda: list(final.parent.iterdir()) == [final], 10, "its last state alone")


def test_a_run_that_kills_its_worker_each_time_fails(engine: RunEngine, store: RunStore) -> None:
    (run,) = launched(engine, store, spec(steps=100_000, batch_size=128, image_size=256))
    for attempt in range(1, MOST_TRIES + 1):

        def begun(attempt: int = attempt) -> bool:
            found = store.run(run.id)
            return found is not None and (found.status, found.attempt) == ("running", attempt)

        wait_for(begun, 60, f"attempt {attempt}")
        os.kill(process_of(store, run.id), signal.SIGKILL)
    given_up = wait_for(lambda: ended(store, run.id), 60, "the run's end")
    assert given_up.status == "failed"
    assert f"{MOST_TRIES} times at the same place" in given_up.error
    assert given_up.summary is not None
    (next_one,) = launched(engine, store, spec(steps=2))
    assert wait_for(lambda: ended(store, next_one.id), 90, "the next run").status == "completed"


def test_a_cancelled_run_whose_worker_dies_is_cancelled(engine: RunEngine, store: RunStore) -> None:
    (run,) = launched(engine, store, spec(steps=100_000))
    wait_for(lambda: store.events(run.id, "step"), 60, "the first step")
    pid = process_of(store, run.id)
    os.kill(pid, signal.SIGSTOP)
    store.request_cancel(run.id)
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: ended(store, run.id), 60, "the run's end").status == "cancelled"


def test_a_process_that_hangs_is_replaced_and_others_go_on(
    engine: RunEngine, store: RunStore
) -> None:
    """As if stuck in native code: it has no heartbeat either."""
    what = spec(steps=200, probe_every=10)
    (whole,) = launched(engine, store, what)
    assert wait_for(lambda: ended(store, whole.id), 90, "the undisturbed run").status == "completed"
    hanging, other = launched(engine, store, spec(steps=100_000, seed=1), what)
    for run in (hanging, other):
        wait_for(lambda r=run: store.events(r.id, "step"), 60, "the first step")
    os.kill(process_of(store, hanging.id), signal.SIGSTOP)
    store.request_cancel(hanging.id)
    assert wait_for(lambda: ended(store, hanging.id), 60, "the cancel").status == "cancelled"
    done = wait_for(lambda: ended(store, other.id), 90, "the other's end")
    assert done.status == "completed"
    assert kept(store, other.id) == kept(store, whole.id)


def test_after_a_lock_workers_get_time_for_a_heartbeat(
    engine: RunEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lock on the store, the watchdog may be the first to write again."""
    attempts, touched = engine._store.attempts, threading.Event()
    touch = attempts.touch

    def unlocked(row_id: str) -> None:
        touch(row_id)
        touched.set()

    monkeypatch.setattr(engine._watches["run"], "_silent_seconds", 1.0)
    monkeypatch.setattr(attempts, "touch", unlocked)
    (run,) = store.create([spec()], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    assert touched.wait(30), "the missing heartbeat was not noticed"
    store.attempts.write(run.id, token)
    touched.clear()
    assert touched.wait(30), "the attempt was requeued although its heartbeat resumed"
    assert token in [attempt.token for attempt in attempts.running()]
    # From now on it has no heartbeat.
    assert wait_for(lambda: ended(store, run.id), 60, "the next attempt's end").attempt == 2


def test_a_run_that_no_worker_can_start_says_so(
    engine: RunEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._dispatcher, "_url", "sqlite:////proc/no-such-folder/asi.sqlite")
    (run,) = launched(engine, store, spec(steps=2))
    refused = wait_for(lambda: ended(store, run.id), 60, "word of the refusal")
    assert refused.status == "failed"
    assert "no worker could start the run" in refused.error


def test_nothing_is_refused_while_some_worker_works(engine: RunEngine, store: RunStore) -> None:
    """One broken machine of several would take task after task."""
    going, waiting = store.create([spec(), spec(seed=1)], "me")
    token = store.attempts.claim(going.id)
    assert token is not None
    engine._refuse("run", waiting.id, "no worker could start the run.")
    assert store.queued().keys() == {waiting.id}
    store.finish(going.id, token, "cancelled")
    engine._refuse("run", waiting.id, "no worker could start the run.")
    assert store.queued() == {}


def test_a_run_that_takes_too_long_is_ended(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("ASI_MAX_RUN_SECONDS", "3")
    engine = RunEngine(settings)
    try:
        (run,) = launched(engine, store, spec(steps=100_000))
        late = wait_for(lambda: ended(store, run.id), 60, "the run's end")
    finally:
        engine.close()
    assert late.status == "failed"
    assert "may take at most 3\u202fs here" in late.error
    # On a busy machine that may be before the first step.
    assert late.summary is not None


def _raise(error: Exception) -> Any:
    raise error


def is_worker(process: psutil.Process) -> bool:
    return "spawn_main" in " ".join(process.cmdline())


def test_closing_leaves_no_process_and_nothing_is_lost(tmp_path: Path) -> None:
    own = Settings(home=tmp_path / "home")
    before = set(psutil.Process(os.getpid()).children(recursive=True))
    first = RunEngine(own)
    started = set(psutil.Process(os.getpid()).children(recursive=True)) - before
    assert started
    store = RunStore(own.database_url)
    (run,) = launched(first, store, spec(steps=100_000))
    wait_for(lambda: store.events(run.id, "step"), 60, "the first step")
    first.close()
    wait_for(
        lambda: not [p for p in started if p.is_running() and is_worker(p)], 20, "the worker's end"
    )
    left = store.run(run.id)
    assert left is not None
    assert left.status == "queued", "a restarted server executes it"
    second = RunEngine(own)
    locked = [OperationalError("SELECT", {}, Exception("database is locked"))]
    queued = second._store.queued
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second._store, "queued", lambda: _raise(locked.pop()) if locked else queued())
        # Not now, but when the store answers.
        second.recover()
        assert not locked
    reached = len(store.events(run.id, "step"))
    wait_for(lambda: len(store.events(run.id, "step")) > reached, 90, "further steps")
    store.request_cancel(run.id)
    done = wait_for(lambda: ended(store, run.id), 60, "the run's end")
    second.close()
    assert (done.status, done.attempt) == ("cancelled", 2)
    (resumed,) = [
        line.text for line in store.log_tail(run.id, 100) if line.text.startswith("resumed after")
    ]
    assert int(resumed.split()[-1]) > 0, "what was done is not done again"


def test_launching_does_not_wait_for_the_watchdog(engine: RunEngine, store: RunStore) -> None:
    (run,) = store.create([spec(steps=2)], "me")
    with engine._patrolling:
        thread = threading.Thread(target=engine.submit, args=(run.id,))
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert wait_for(lambda: ended(store, run.id), 60, "the run's end").status == "completed"
