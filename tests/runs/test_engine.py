"""The engine with a real worker process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from asi_core.runs.engine import RunEngine
from asi_core.runs.store import RunStore
from asi_core.settings import Settings
from asi_core.training.spec import RunSpec
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("engine")
    return Settings(home=home, weights_dir=None, database_url=f"sqlite:///{home / 'asi.sqlite'}")


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[RunEngine]:
    engine = RunEngine(settings, silent_seconds=5)
    yield engine
    engine.close()


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return RunStore(settings.database_url)


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 5, "batch_size": 16, "image_size": 32, "layers": 1, "evaluate_every": 5}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **small, **changes})


def ended(store: RunStore, run_id: str) -> Any:
    run = store.run(run_id)
    return run if run is not None and not run.is_active else None


def test_runs_of_a_comparison_go_side_by_side(engine: RunEngine, store: RunStore) -> None:
    methods = [{"kind": "vanilla"}, {"kind": "asi", "ranks": 4}, {"kind": "gradient_filter"}]
    runs = store.create([spec(method=method, steps=30) for method in methods], "me")
    for run in runs:
        engine.submit(run.id)
    states = [wait_for(lambda r=run: ended(store, r.id), 90, "the run's end") for run in runs]
    assert {run.status for run in states} == {"completed"}
    begun, done = max(run.started_at for run in states), min(run.finished_at for run in states)
    assert begun < done, "they took turns, none waited for another's end"


def test_cancelling_takes_effect_within_a_step(engine: RunEngine, store: RunStore) -> None:
    long, short = store.create([spec(steps=5000), spec(steps=20)], "me")
    for run in (long, short):
        engine.submit(run.id)
    wait_for(lambda: store.events(long.id, "step"), 60, "the first step")
    store.request_cancel(long.id)
    stopped = wait_for(lambda: ended(store, long.id), 20, "the cancelled run's end")
    assert stopped.status == "cancelled"
    assert 0 < len(store.events(long.id, "step")) < 5000
    assert wait_for(lambda: ended(store, short.id), 60, "the other's end").status == "completed"


def test_what_was_queued_before_a_start_is_taken_up(engine: RunEngine, store: RunStore) -> None:
    (left,) = store.create([spec(steps=2)], "me")
    engine.recover()
    assert wait_for(lambda: ended(store, left.id), 60, "the run's end").status == "completed"


def test_nothing_listens_beyond_loopback(engine: RunEngine) -> None:
    me = psutil.Process(os.getpid())
    for process in [me, *me.children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1")


def test_the_worker_keeps_its_memory(engine: RunEngine) -> None:
    """Dask's own malloc settings made convolutions four times slower."""
    workers = [p for p in psutil.Process(os.getpid()).children(recursive=True) if is_worker(p)]
    assert workers
    environment = workers[0].environ()
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) >= 2**30
    assert int(environment["OMP_NUM_THREADS"]) == (os.cpu_count() or 1)


def test_a_killed_worker_is_replaced_and_takes_new_runs(engine: RunEngine, store: RunStore) -> None:
    lost, run = store.create([spec(steps=100_000), spec(steps=2)], "me")
    engine.submit(lost.id)
    wait_for(lambda: store.events(lost.id, "step"), 60, "the first step")
    workers = [p for p in psutil.Process(os.getpid()).children(recursive=True) if is_worker(p)]
    os.kill(workers[0].pid, signal.SIGKILL)
    assert wait_for(lambda: ended(store, lost.id), 30, "word of the loss").status == "interrupted"
    engine.submit(run.id)
    assert wait_for(lambda: ended(store, run.id), 90, "the run's end").status == "completed"


def test_a_run_that_no_worker_can_begin_says_so(
    engine: RunEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = store.create([spec(steps=2)], "me")
    monkeypatch.setattr(engine, "_url", "sqlite:////proc/no-such-folder/asi.sqlite")
    engine.submit(run.id)
    refused = wait_for(lambda: ended(store, run.id), 60, "word of the refusal")
    assert refused.status == "failed"
    assert "could not take up the run" in refused.error


def is_worker(process: psutil.Process) -> bool:
    return "spawn_main" in " ".join(process.cmdline())


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    own = Settings(home=home, weights_dir=None, database_url=f"sqlite:///{home / 'asi.sqlite'}")
    before = set(psutil.Process(os.getpid()).children(recursive=True))
    other = RunEngine(own)
    started = set(psutil.Process(os.getpid()).children(recursive=True)) - before
    assert started
    other.close()
    wait_for(
        lambda: not [p for p in started if p.is_running() and is_worker(p)], 20, "the worker's end"
    )
