"""Running tests in parallel processes of one machine, by pytest-xdist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def use_own_processors() -> None:
    """Bind this process and its future children to its share of the processors.

    PyTorch's threads spin while waiting: if two processes both use all processors, each runs at
    less than half speed. Processes beyond the number of processors have one thread each instead.
    """
    name = os.environ.get("PYTEST_XDIST_WORKER")
    if name is None or not hasattr(os, "sched_setaffinity"):
        return
    processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if share := sorted(os.sched_getaffinity(0))[int(name.removeprefix("gw")) :: processes]:
        os.sched_setaffinity(0, share)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"


def long_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Sort browser and engine tests first, so that no process ends with a long file."""
    return sorted(items, key=lambda item: item.path.parent.name not in ("browser", "engine"))


def shared_folder(folders: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of a session use."""
    base = folders.getbasetemp()
    # Each process has a separate folder in the session's.
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = session / name
    folder.mkdir(exist_ok=True)
    return folder
