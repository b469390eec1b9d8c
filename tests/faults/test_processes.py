"""Processes that end at any moment: runs go on, with the same curve."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asi_core.runs.attempts import MOST_TRIES
from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.units import GIB
from tests.faults.scene import (
    SPECS,
    VANILLA,
    all_ended,
    app_with_runs,
    kill_worker,
    steps,
    worker_of,
)
from tests.postgres import fresh_database
from tests.waiting import wait_for

Check = Callable[[RunStore, list[RunRecord]], list[RunRecord]]
Tell = Callable[[str, str, str], None]

# The table of docs/reliability.md is made with more.
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
                runs = store.create(SPECS, "me", questions=None)
                # The app takes up what others have queued a minute later: as if that were over.
                _age(store)
            target = steps(store, runs[0]) + draw.randrange(1, 250)

            def due(target: int = target, runs: list[RunRecord] = runs) -> bool:
                done = not store.active()
                return done or steps(store, runs[0]) >= min(target, 590)

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


def _age(store: RunStore) -> None:
    from sqlalchemy import update

    from asi_core.runs.tables import runs

    with store._engine.begin() as connection:
        changed = update(runs).where(runs.c.status == "queued")
        connection.execute(changed.values(created_at=runs.c.created_at - 3600))


def test_the_app_is_killed(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    with app_with_runs(tmp_path / "home", url) as (app, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        app.kill()
        # Its worker ends by itself.
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


def test_the_app_is_told_to_end(
    url: str, kind: str, tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    with app_with_runs(tmp_path / "home", url) as (app, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        app.terminate()
        wait_for(lambda: not app.family(), 30, "no orphan")
        app.start()
        as_undisturbed(store, runs)
    tell("SIGTERM to the app, started again", kind, "completed, same curves; no orphan")


def test_a_worker_without_memory_gives_up_what_needs_it_and_nothing_else(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'asi.sqlite'}"
    hungry = VANILLA.model_copy(
        update={"batch_size": 2000, "image_size": 224, "layers": 30, "steps": 3}
    )
    settings = {"ASI_WORKER_MEMORY_BYTES": str(2 * GIB)}
    with app_with_runs(home, url, (hungry,), **settings) as (_, store, runs):
        (lost,) = all_ended(store, runs, 400)
        assert lost.status == "failed"
        assert f"{MOST_TRIES} times at the same place, killed or out of memory" in str(lost.error)
        after = store.create(SPECS, "me")
        _age(store)
        as_undisturbed(store, after)
    tell(
        "worker out of memory",
        "SQLite",
        f"failed after {MOST_TRIES} attempts, and says why; the runs after it completed",
    )
