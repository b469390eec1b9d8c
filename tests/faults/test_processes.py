"""Processes that are killed at any moment: runs resume, with the same curve."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.attempts import MOST_TRIES
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.sweeps import Sweep, request_sweep
from asi_core.units import GIB
from tests.faults.scene import (
    SPECS,
    VANILLA,
    age,
    all_ended,
    app_with_runs,
    attempts,
    kill_worker,
    steps,
    worker_of,
)
from tests.postgres import fresh_database
from tests.waiting import wait_for

HUNGRY = VANILLA.model_copy(
    update={"batch_size": 2000, "image_size": 224, "layers": 30, "steps": 3}
)
Check = Callable[[RunStore, list[RunRecord]], list[RunRecord]]
Tell = Callable[[str, str, str], None]

# More for the table of docs/reliability.md.
KILLS = int(os.environ.get("FAULT_KILLS", "3"))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if kind == "SQLite":
        yield f"sqlite:///{tmp_path / 'home' / 'asi.sqlite'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as found:
        yield found


def test_workers_are_killed_at_random_moments(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    draw = random.Random(7)
    killed = 0
    with app_with_runs(tmp_path / "home", url) as (_, store, runs):
        while killed < KILLS:
            if not store.active():
                as_undisturbed(store, runs)
                runs = store.create(SPECS, "me", fingerprints=None)
                # The app takes over rows queued by others after a minute: skip that time.
                age(store)
            # Beyond the next checkpoint, as a run fails after three losses without progress.
            target = steps(store, runs[0]) + draw.randrange(40, 250)

            def due(target: int = target, runs: list[RunRecord] = runs) -> bool:
                # The store still has the worker that was killed last for some time.
                alive = any(worker_of(store, run) is not None for run in runs)
                return not store.active() or (alive and steps(store, runs[0]) >= target)

            wait_for(due, 120, "the moment")
            going = [run for run in runs if worker_of(store, run) is not None]
            if going:
                kill_worker(store, going[0])
                killed += 1
        done = as_undisturbed(store, runs)
    attempts = max(run.attempt for run in done)
    tell(
        f"worker killed (kill -9), {KILLS} times at random moments",
        kind,
        f"completed, same curves as undisturbed (the last two runs in up to {attempts} attempts)",
    )


def test_the_app_is_killed(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    with app_with_runs(tmp_path / "home", url) as (app, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        app.kill()
        # The worker must end without it.
        wait_for(lambda: not app.family(), 30, "no orphan")
        app.start()
        as_undisturbed(store, runs)
    tell("app killed (kill -9) and started again", kind, "completed, same curves; no orphan")


def test_app_and_worker_are_killed_at_once(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    with app_with_runs(tmp_path / "home", url) as (app, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 50, 120, "some steps")
        for process in app.family():
            os.kill(process.pid, signal.SIGKILL)
        app.process.wait(timeout=30)
        app.start()
        as_undisturbed(store, runs)
    tell("app and worker killed at once, app started again", kind, "completed, same curves")


def test_the_app_is_terminated(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    with app_with_runs(tmp_path / "home", url) as (app, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        app.terminate()
        wait_for(lambda: not app.family(), 30, "no orphan")
        app.start()
        as_undisturbed(store, runs)
    tell("SIGTERM to the app, started again", kind, "completed, same curves; no orphan")


def test_a_sweep_loses_its_worker_and_its_app(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    sweep = Sweep(
        base=VANILLA, methods=("asi", "vanilla"), ranks=(4,), layers=(2,), references=False
    )
    with app_with_runs(tmp_path / "home", url, lambda store: request_sweep(store, sweep, "me")) as (
        app,
        store,
        runs,
    ):
        runs.sort(key=lambda run: SPECS.index(run.spec))
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        kill_worker(store, runs[0])
        wait_for(lambda: attempts(store, runs[0]) > 1, 60, "the next attempt")
        app.kill()
        wait_for(lambda: not app.family(), 30, "no orphan")
        app.start()
        as_undisturbed(store, runs)
        assert len(store.comparison(runs[0].comparison)) == len(SPECS)
    tell("a sweep: worker killed, then the app", kind, "completed, same curves, one comparison")


def test_only_the_run_that_exceeds_the_memory_fails(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    """Other users' runs are in the same process when it is killed."""
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'asi.sqlite'}"
    settings = {"ASI_WORKER_MEMORY_BYTES": str(2 * GIB)}

    def ask(store: RunStore) -> list[RunRecord]:
        return [*store.create([HUNGRY], "me"), *store.create(SPECS, "they")]

    with app_with_runs(home, url, ask, **settings) as (_, store, (hungry, *others)):
        (lost,) = all_ended(store, [hungry], 500)
        assert lost.status == "failed"
        as_undisturbed(store, others)
    tell(
        "worker out of memory for one of three runs",
        "SQLite",
        "that one failed, and says why; the others completed, same curves",
    )


def test_a_run_that_exceeds_the_memory_fails_and_later_runs_do_not(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'asi.sqlite'}"
    settings = {"ASI_WORKER_MEMORY_BYTES": str(2 * GIB)}
    with app_with_runs(home, url, lambda store: store.create([HUNGRY], "me"), **settings) as (
        _,
        store,
        runs,
    ):
        (lost,) = all_ended(store, runs, 400)
        assert lost.status == "failed"
        assert f"{MOST_TRIES} times at the same place, killed or out of memory" in str(lost.error)
        after = store.create(SPECS, "me")
        age(store)
        as_undisturbed(store, after)
    tell(
        "worker out of memory",
        "SQLite",
        f"failed after {MOST_TRIES} attempts, and says why; the runs after it completed",
    )
