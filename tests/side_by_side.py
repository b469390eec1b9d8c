"""Running tests in parallel processes of one machine, by pytest-xdist."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def is_one_of_several() -> bool:
    """Whether this is one of several test processes."""
    return "PYTEST_XDIST_WORKER" in os.environ


def share_processors() -> None:
    """One computing thread per test process, and none that spins while it waits.

    All processes together keep the processors busy: a browser test waits for its server, an engine
    test for its workers. PyTorch's threads spin by default, so that two processes with as many
    threads as processors each run at less than half speed.
    """
    if is_one_of_several():
        os.environ["OMP_NUM_THREADS"] = "1"
        # Also of the servers and workers that tests start, which choose their number of threads.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def keep_bytecode() -> None:
    """Compile each module once, also where the environment says otherwise, as containers often do.

    Otherwise each test process compiles all tests, with their assertions rewritten, and each server
    and worker that a test starts compiles the whole app.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def long_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Sort browser and engine tests first, so that no process ends with a long file."""
    return sorted(items, key=lambda item: item.path.parent.name not in ("browser", "engine"))


def shared_folder(folders: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of a session use."""
    base = folders.getbasetemp()
    # Each process has a separate folder in the session's.
    session = base.parent if is_one_of_several() else base
    folder = session / name
    folder.mkdir(exist_ok=True)
    return folder
