"""An external cluster: a scheduler and two workers on separate addresses, and PostgreSQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from asi_core.errors import InvalidInput, Unavailable
from asi_core.runs.engine.engine import RunEngine
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.settings import Settings, read_settings
from tests.browser.app import free_port
from tests.postgres import fresh_database
from tests.runs.engine.test_engine import ended, kept, spec
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


@dataclass
class Machines:
    """A scheduler and workers, each a process with a separate address."""

    address: str
    settings: Settings
    processes: list[subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, features_dir: Path
) -> Iterator[Machines]:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.2", 0))
        except OSError:
            pytest.skip("this system has only one loopback address")
    folder = tmp_path_factory.mktemp("cluster")
    address = f"tcp://127.0.0.2:{free_port()}"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ASI_")},
        "PYTHONPATH": str(ROOT),
        # One folder that all machines reach, as in a cluster.
        "ASI_HOME": str(folder),
        "ASI_FEATURES_DIR": str(features_dir),
        "ASI_THREADS": "1",
    }
    host, port = address.removeprefix("tcp://").split(":")
    commands = [["scheduler", "--host", host, "--port", port]]
    for number in (3, 4):
        own = ["--host", f"127.0.0.{number}", "--local-directory", str(folder / str(number))]
        commands.append(["worker", address, *own, "--no-nanny", "--nthreads", "2"])
    processes = []
    with (folder / "log").open("ab") as log:
        for command in commands:
            started = [sys.executable, "-m", "dask", *command, "--no-dashboard"]
            processes.append(
                subprocess.Popen(started, env=environment, cwd=folder, stdout=log, stderr=log)
            )
    with fresh_database(request.getfixturevalue("postgres")) as url:
        settings = Settings(home=folder, database_url=url, scheduler=address)
        yield Machines(address, settings, processes)
        for process in processes:
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
def engine(machines: Machines) -> Iterator[RunEngine]:
    def connected() -> RunEngine | None:
        try:
            return RunEngine(machines.settings, silent_seconds=5)
        except Unavailable:
            return None

    engine = wait_for(connected, 60, "the scheduler")
    yield engine
    engine.close()


def test_a_run_goes_on_where_a_machine_was_lost(engine: RunEngine, machines: Machines) -> None:
    store = RunStore(machines.settings.database_url)
    what = spec(method={"kind": "asi", "ranks": 4}, steps=400, probe_every=20)
    runs = store.create([what] * 3, "me")
    for run in runs:
        engine.submit(run.id)

    def at_work() -> dict[str, int]:
        found: dict[str, int] = {}
        for attempt in store.attempts.running():
            where = WorkerId.read(attempt.worker)
            assert where is not None
            found[attempt.id] = where.pid
        return found

    wait_for(lambda: len(set(at_work().values())) == 2, 90, "both workers at work")
    lost, killed = next(iter(at_work().items()))
    wait_for(lambda: len(store.events(lost, "step")) > 100, 90, "some steps")
    os.kill(killed, signal.SIGKILL)
    # Looked at when the process can take no further run: the third may have begun there as well.
    orphaned = {name for name, pid in at_work().items() if pid == killed}
    done = [wait_for(lambda r=run: ended(store, r.id), 180, "the run's end") for run in runs]
    assert {run.status for run in done} == {"completed"}
    again = {run.id for run in done if run.attempt == 2}
    assert lost in again
    assert again == orphaned
    first, *others = (kept(store, run.id) for run in runs)
    assert all(other == first for other in others), "the same curve on every machine"
    # From the folder that both reach, not from the beginning.
    message = [line.text for line in store.log_tail(lost, 200)]
    assert any(text.startswith("resumed after step") for text in message)
    store.close()


def test_a_scheduler_that_does_not_answer_is_reported(machines: Machines) -> None:
    nowhere = f"tcp://127.0.0.5:{free_port()}"
    settings = machines.settings.model_copy(update={"scheduler": nowhere})
    with pytest.raises(Unavailable, match=f"scheduler at {nowhere} does not answer"):
        RunEngine(settings)


def test_a_scheduler_with_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_SCHEDULER", "tcp://127.0.0.2:8786")
    with pytest.raises(InvalidInput) as refusal:
        read_settings()
    assert str(refusal.value) == (
        "workers of a Dask scheduler need a store that they reach over the network, got "
        "ASI_SCHEDULER with a SQLite store: set ASI_DATABASE_URL to a PostgreSQL database."
    )
