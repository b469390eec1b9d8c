"""Helpers of the fault suite: a real app with real runs, and checks at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import update

from asi_core.methods import Vanilla
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.tables import runs as runs_table
from asi_core.runs.store.worker_id import WorkerId
from asi_core.training.events import Event
from asi_core.training.spec import RunSpec
from tests.browser.app import ROOT, free_port
from tests.waiting import wait_for

# Long enough to be disturbed, and with probes, at which checkpoints are written.
ASI = RunSpec.model_validate(
    {
        "method": {"kind": "asi", "ranks": 4},
        "momentum": 0.9,
        "steps": 600,
        "batch_size": 16,
        "image_size": 32,
        "layers": 2,
        "probe_every": 30,
        "evaluate_every": 150,
    }
)
VANILLA = ASI.model_copy(update={"method": Vanilla()})
SPECS = (ASI, VANILLA)
KINDS = ("prepared", "step", "evaluation", "probe")


class App:
    """A server process that can be killed and started again over the same home and store.

    Args:
        home: its `ASI_HOME`.
        settings: further environment variables.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home, self._settings = home, settings
        home.mkdir(parents=True, exist_ok=True)
        # Marks processes of this app, so that orphans are found too.
        self._mark = f"asi-fault-{home.name}-{os.getpid()}"

    def start(self) -> None:
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ASI_")}
        features = {"ASI_FEATURES_DIR": os.environ["ASI_FEATURES_DIR"]}
        own = {"ASI_HOME": str(self.home), "ASI_FAULT_MARK": self._mark, **self._settings}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
        with (self.home.parent / f"{self.home.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.port", str(port)],
                cwd=ROOT,
                env={**environment, **features, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)

    def terminate(self) -> None:
        """Stop the app as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def family(self) -> list[psutil.Process]:
        """All processes of the app, including orphans."""
        mark = ("ASI_FAULT_MARK", self._mark)
        return [p for p in psutil.process_iter() if mark in _environment(p).items()]

    def end(self) -> None:
        """Stop the app, and check that none of its processes is left."""
        if self.process.poll() is None:
            self.terminate()
        wait_for(lambda: not self.family(), 30, "the end of all processes of the app")


@contextmanager
def app_with_runs(
    home: Path,
    url: str,
    ask: Callable[[RunStore], list[RunRecord]] = lambda store: store.create(SPECS, "me"),
    **settings: str,
) -> Iterator[tuple[App, RunStore, list[RunRecord]]]:
    """A started app that executes the runs queued by `ask`."""
    store = RunStore(url)
    runs = ask(store)
    app = App(home, ASI_DATABASE_URL=url, **settings)
    app.start()
    try:
        yield app, store, runs
    finally:
        app.end()
        store.close()


def numbers(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    """All measurements except seconds, in order."""
    events: list[Event] = [event for kind in KINDS for event in store.events(run_id, kind)]
    dumped = [event.model_dump() for event in events]
    return [{k: v for k, v in fields.items() if "seconds" not in k} for fields in dumped]


def steps(store: RunStore, run: RunRecord) -> int:
    return len(store.events(run.id, "step"))


def attempts(store: RunStore, run: RunRecord) -> int:
    found = store.run(run.id)
    return 0 if found is None else found.attempt


def age(store: RunStore) -> None:
    """Make queued rows older, so that any server takes them over."""
    with store._engine.begin() as connection:
        c = runs_table.c
        changed = update(runs_table).where(c.status == "queued")
        connection.execute(changed.values(created_at=c.created_at - 3600))


def ended(store: RunStore, run: RunRecord) -> RunRecord | None:
    found = store.run(run.id)
    return found if found is not None and not found.is_active else None


def all_ended(store: RunStore, runs: list[RunRecord], seconds: float = 240) -> list[RunRecord]:
    return [wait_for(lambda r=r: ended(store, r), seconds, f"the end of run {r.id}") for r in runs]


def worker_of(store: RunStore, run: RunRecord) -> int | None:
    """The live process that executes a run now, None if there is none."""
    for attempt in store.attempts.running():
        where = WorkerId.read(attempt.worker)
        if attempt.id == run.id and where is not None and _lives(where.pid):
            return where.pid
    return None


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_worker(store: RunStore, run: RunRecord) -> None:
    pid = wait_for(lambda: worker_of(store, run), 60, "a worker")
    os.kill(pid, signal.SIGKILL)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
