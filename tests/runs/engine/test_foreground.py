"""Queued runs, executed by a command's process that is killed, and by the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from asi_core.runs.engine import foreground
from asi_core.runs.engine.foreground import Stop, give_up, work_through
from asi_core.runs.engine.heartbeat import Heartbeat
from asi_core.runs.engine.watch import Watch
from asi_core.runs.engine.worker import open_store
from asi_core.runs.records import RunRecord
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.training.events import Event
from tests.datasets.pictures import both_splits, write_folder
from tests.runs.kept import spec
from tests.waiting import wait_for

SMALL = spec(steps=2, batch_size=4, image_size=32, layers=1)
SCRIPT = """
from asi_core.runs.engine.foreground import work_through
from asi_core.runs.engine.worker import open_store
url = {url!r}
work_through(url, open_store(url).comparison({comparison!r}), lambda number, run: None)
"""


def curve(store: RunStore, run: RunRecord) -> list[tuple[int, float]]:
    found: list[Event] = [*store.events(run.id, "step"), *store.events(run.id, "evaluation")]
    return [(event.step, event.loss) for event in found if event.kind != "prepared"]  # type: ignore[union-attr]


def test_the_run_of_a_killed_process_is_resumed(tmp_path: Path, database_url: str) -> None:
    images = f"imagefolder:{write_folder(tmp_path / 'images', both_splits())}"
    # Long enough to be killed meanwhile; the second one only comes after it.
    asked = [
        spec({"kind": kind}, dataset=images, steps=steps, batch_size=4, image_size=32, layers=1)
        for kind, steps in (("vanilla", 400), ("eight_bit", 20))
    ]
    store = open_store(database_url)
    killed = store.create(asked, "command line")
    script = SCRIPT.format(url=database_url, comparison=killed[0].comparison)
    process = subprocess.Popen([sys.executable, "-c", script])
    wait_for(lambda: len(store.events(killed[0].id, "evaluation")) >= 2, 120, "two evaluations")
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = store.run(killed[0].id)
    assert begun is not None
    assert begun.status == "running", "the killed process could not end it"

    reported: list[tuple[int, str]] = []
    work_through(
        database_url,
        store.comparison(killed[0].comparison),
        lambda number, run: reported.append((number, run.status)),
    )
    assert reported == [(1, "completed"), (2, "completed")]
    ended = store.comparison(killed[0].comparison)
    assert [run.attempt for run in ended] == [2, 1]

    undisturbed = store.create(asked, "command line")
    work_through(database_url, undisturbed, lambda number, run: None)
    for one, other in zip(ended, undisturbed, strict=True):
        assert curve(store, one) == curve(store, other)

    # All runs have ended: only messages are left.
    reported.clear()
    work_through(database_url, ended, lambda number, run: reported.append((number, run.status)))
    assert reported == [(1, "completed"), (2, "completed")]
    assert [run.attempt for run in store.comparison(killed[0].comparison)] == [2, 1]


def test_runs_that_an_app_requeues_or_loses_are_resumed(database_url: str) -> None:
    store = open_store(database_url)
    put_back, silent = store.create([SMALL, SMALL.model_copy(update={"seed": 1})], "me")
    tokens = [store.attempts.claim(run.id) for run in (put_back, silent)]
    reported: list[tuple[str, int]] = []
    command = threading.Thread(
        target=work_through,
        args=(
            database_url,
            [put_back, silent],
            lambda number, run: reported.append((run.id, number)),
        ),
        kwargs={"silent_seconds": 6},
        daemon=True,
    )
    command.start()
    beating = Heartbeat("a run", lambda: store.attempts.write(put_back.id, str(tokens[0])))
    with beating:
        # Longer than the limit for a missing heartbeat.
        command.join(9)
        assert command.is_alive()
    assert store.attempts.requeue(put_back.id, str(tokens[0]), count_attempt=False)
    command.join(120)
    assert reported == [(put_back.id, 1), (silent.id, 2)]
    ended = store.comparison(put_back.comparison)
    assert {run.status for run in ended} == {"completed"}


def test_a_server_gets_time_to_handle_its_lost_workers(database_url: str) -> None:
    """The loss of a server's worker counts as a try, that of a command does not."""
    store = open_store(database_url)
    (run,) = store.create([SMALL], "me")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    now = 0.0
    watch = Watch(60, 60, clock=lambda: now)
    for address, status in (("tcp://worker", "running"), ("", "queued")):
        where = replace(WorkerId.here(address), pid=ended.pid)
        assert store.attempts.claim(run.id, str(where)) is not None
        foreground._put_back_lost(store, run.id, watch)
        found = store.run(run.id)
        assert found is not None
        assert found.status == status
        if status == "running":
            now += 61
            foreground._put_back_lost(store, run.id, watch)
    assert store.attempts.claim(run.id) is not None
    assert store.attempts.running()[0].tries == 2, (
        "the server's loss counts, the command's does not"
    )


def test_giving_up_ends_a_run_that_does_not_stop_and_not_those_of_others(database_url: str) -> None:
    store = open_store(database_url)
    here = str(WorkerId.here())
    (earlier,) = store.create([SMALL], "another user")
    elsewhere = store.attempts.claim(earlier.id, str(replace(WorkerId.here(), pid=1)))
    since = time.time()
    stuck, waiting = store.create([SMALL, SMALL.model_copy(update={"seed": 1})], "me")
    token = store.attempts.claim(stuck.id, here)
    assert token is not None
    assert elsewhere is not None
    begun = time.monotonic()
    pressed = iter(range(1, 100))
    # Every poll counts as another request, so that it does not wait for the run to stop.
    give_up(store, [earlier, stuck, waiting], Stop(lambda: next(pressed), since))
    assert time.monotonic() - begun < foreground._STOPPING_SECONDS
    found = {run.id: store.run(run.id) for run in (earlier, stuck, waiting)}
    assert {run_id: run and run.status for run_id, run in found.items()} == {
        earlier.id: "running",
        stuck.id: "cancelled",
        waiting.id: "cancelled",
    }
    with pytest.raises(AttemptLost):
        store.attempts.write(stuck.id, token)


def test_a_run_of_others_is_cancelled_by_whoever_executes_it(database_url: str) -> None:
    store = open_store(database_url)
    (run,) = store.create([SMALL], "another user")
    assert store.attempts.claim(run.id, str(WorkerId.here())) is not None
    pressed = iter(range(1, 100))
    give_up(store, [run], Stop(lambda: next(pressed), since=time.time() + 1))
    found = store.run(run.id)
    assert found is not None
    assert found.status == "cancelled"
