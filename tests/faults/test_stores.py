"""Stores, disks and clocks that fail: runs wait, resume, or report the error."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from tests.faults.scene import SPECS, app_with_runs, kill_worker, steps
from tests.postgres import Postgres, find_postgres
from tests.waiting import wait_for

Check = Callable[[RunStore, list[RunRecord]], list[RunRecord]]
Tell = Callable[[str, str, str], None]


def sqlite_url(home: Path) -> str:
    return f"sqlite:///{home / 'asi.sqlite'}"


def test_the_database_is_stopped_and_started(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("needs PostgreSQL's binaries, to stop and start a server")
    server = Postgres(binaries)
    try:
        with app_with_runs(tmp_path / "home", server.url) as (_, store, runs):
            wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
            server.stop()
            # Longer than the limit for a missing heartbeat.
            waited = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
            waited.wait()
            server.start()
            done = as_undisturbed(store, runs)
        assert [run.attempt for run in done] == [1, 1], "no attempt was declared lost"
    finally:
        server.remove()
    tell("database stopped for 20 s and started", "PostgreSQL", "completed in the first attempt")


def test_the_database_is_locked(tmp_path: Path, as_undisturbed: Check, tell: Tell) -> None:
    home = tmp_path / "home"
    with app_with_runs(home, sqlite_url(home)) as (_, store, runs):
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        program = (
            "import sqlite3, sys, time\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('BEGIN EXCLUSIVE')\n"
            "time.sleep(25)"
        )
        command = [sys.executable, "-c", program, str(home / "asi.sqlite")]
        subprocess.run(command, check=True, timeout=60)
        done = as_undisturbed(store, runs)
    assert [run.attempt for run in done] == [1, 1], "no attempt was declared lost"
    tell("database locked by another process for 25 s", "SQLite", "completed in the first attempt")


def test_the_database_is_locked_while_runs_wait(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    """Longer than four times a writer's timeout, so that no queued run can be started."""
    home = tmp_path / "home"
    lock = None

    def ask(store: RunStore) -> list[RunRecord]:
        runs = store.create(SPECS, "me")
        nonlocal lock
        lock = sqlite3.connect(home / "asi.sqlite", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        return runs

    with app_with_runs(home, sqlite_url(home), ask) as (_, store, runs):
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=True)
        assert {run.status for run in store.active()} == {"queued"}
        assert lock is not None
        lock.close()
        as_undisturbed(store, runs)
    tell("database locked for a minute while runs wait", "SQLite", "completed, same curves")


@contextmanager
def small_disk(folder: Path, size: str = "24m") -> Iterator[Path]:
    """A small separate disk mounted at `folder`."""
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("mounting a disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(disk: Path) -> Path:
    """A file that fills the disk."""
    path = disk / "full"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


def test_the_disk_is_full(tmp_path: Path, as_undisturbed: Check, tell: Tell) -> None:
    with small_disk(tmp_path / "disk") as disk:
        home = disk / "home"
        with app_with_runs(home, sqlite_url(home)) as (_, store, runs):
            wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
            full = filled(disk)
            before = steps(store, runs[0])
            subprocess.run([sys.executable, "-c", "import time; time.sleep(20)"], check=True)
            assert steps(store, runs[0]) >= before, "no stored step is lost"
            full.unlink()
            done = as_undisturbed(store, runs)
            assert [run.attempt for run in done] == [1, 1], "no attempt was declared lost"
    tell(
        "disk full for 20 s",
        "SQLite",
        "nothing stored is lost; completed with the same curves once there is space again",
    )


def test_the_app_starts_on_a_full_disk(tmp_path: Path, as_undisturbed: Check, tell: Tell) -> None:
    with small_disk(tmp_path / "disk") as disk:
        home = disk / "home"
        with app_with_runs(home, sqlite_url(home)) as (app, store, runs):
            wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
            app.kill()
            wait_for(lambda: not app.family(), 30, "no orphan")
            full = filled(disk)
            app.start()
            subprocess.run([sys.executable, "-c", "import time; time.sleep(30)"], check=True)
            workers = [p for p in app.family() if "spawn_main" in " ".join(p.cmdline())]
            assert len(workers) <= 1, "one worker, even after several attempts to start"
            full.unlink()
            as_undisturbed(store, runs)
    tell(
        "app killed and started again on a full disk",
        "SQLite",
        "completed with the same curves once there is space again, without a page view",
    )


def test_the_disk_cannot_be_written(tmp_path: Path, as_undisturbed: Check, tell: Tell) -> None:
    """The disk of the checkpoints turns read-only, as failing disks do; the store is elsewhere."""
    with small_disk(tmp_path / "disk") as disk:
        home = tmp_path / "home"
        own = {"ASI_CHECKPOINTS_DIR": str(disk / "checkpoints")}
        with app_with_runs(home, sqlite_url(home), **own) as (_, store, runs):
            wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
            again = ["mount", "-o", "remount,ro", str(disk)]
            subprocess.run(again, check=True, capture_output=True)
            done = as_undisturbed(store, runs)
            lines = [line.text for line in store.log_tail(done[0].id, 100)]
            assert any(text.startswith("no checkpoint of step") for text in lines)
    tell(
        "disk of the checkpoints turns read-only",
        "SQLite",
        "completed, same curves; the log warns that there is no checkpoint",
    )


@pytest.mark.parametrize("damage", ["truncated", "one bit", "removed"])
def test_a_checkpoint_is_damaged(
    tmp_path: Path, as_undisturbed: Check, tell: Tell, damage: str
) -> None:
    home = tmp_path / "home"
    with app_with_runs(home, sqlite_url(home)) as (app, store, runs):
        paths = [home / "checkpoints" / run.id / "state.safetensors" for run in runs]
        wait_for(lambda: all(path.exists() for path in paths), 120, "checkpoints")
        wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
        app.kill()
        wait_for(lambda: not app.family(), 30, "no orphan")
        for path in paths:
            _damage(path, damage)
        app.start()
        done = as_undisturbed(store, runs)
        message = [line.text for line in store.log_tail(done[0].id, 100)]
    if damage != "removed":
        assert any("starts over" in text for text in message)
    tell(f"checkpoint damaged ({damage})", "SQLite", "begun anew, and says so; same curves")


def _damage(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "removed":
        shutil.rmtree(path.parent)
        return
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[-100] ^= 1
    path.write_bytes(content)


def test_the_store_is_damaged(tmp_path: Path, tell: Tell) -> None:
    """A file that is not a database is refused and not overwritten."""
    home = tmp_path / "home"
    home.mkdir()
    path = home / "asi.sqlite"
    path.write_bytes(b"this is not a database" * 1000)
    before = path.read_bytes()
    with pytest.raises(Exception, match="not a database"):
        RunStore(sqlite_url(home))
    assert path.read_bytes() == before
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM runs")
    tell("store is not a database", "SQLite", "refused, and left as it is")


_CLOCK = """
import os, time
_real, _path = time.time, os.environ.get("FAULT_CLOCK_FILE")
def _shifted():
    try:
        with open(_path) as file:
            return _real() + float(file.read() or 0)
    except (OSError, ValueError, TypeError):
        return _real()
time.time = _shifted
"""


def test_the_clock_jumps(tmp_path: Path, as_undisturbed: Check, tell: Tell) -> None:
    """For every process of the app, the clock is set an hour ahead, then two back."""
    home, shift, code = tmp_path / "home", tmp_path / "shift", tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(_CLOCK)
    own = {"PYTHONPATH": str(code), "FAULT_CLOCK_FILE": str(shift)}
    with app_with_runs(home, sqlite_url(home), **own) as (_, store, runs):
        for hours, reached in ((1, 100), (-1, 300)):
            wait_for(lambda n=reached: steps(store, runs[0]) > n, 120, f"{reached} steps")
            part = shift.with_suffix(".part")
            part.write_text(str(hours * 3600.0))
            os.replace(part, shift)
        done = as_undisturbed(store, runs)
    assert [run.attempt for run in done] == [1, 1], "no attempt was declared lost"
    tell("clock set an hour ahead, then two back", "SQLite", "completed in the first attempt")


def test_a_worker_dies_while_the_database_is_gone(
    tmp_path: Path, as_undisturbed: Check, tell: Tell
) -> None:
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("needs PostgreSQL's binaries, to stop and start a server")
    server = Postgres(binaries)
    try:
        with app_with_runs(tmp_path / "home", server.url) as (_, store, runs):
            wait_for(lambda: steps(store, runs[0]) > 100, 120, "some steps")
            kill_worker(store, runs[0])
            server.stop()
            server.start()
            as_undisturbed(store, runs)
    finally:
        server.remove()
    tell("worker killed and database restarted at once", "PostgreSQL", "completed, same curves")
