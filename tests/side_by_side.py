"""Tests that go side by side in processes of one machine, by pytest-xdist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def use_own_processors() -> None:
    """Bind this process, and all that it will start, to its share of the processors.

    PyTorch's threads wait actively: two processes that both use all processors take turns, and each
    is slower than half as fast.
    """
    name = os.environ.get("PYTEST_XDIST_WORKER")
    if name is None or not hasattr(os, "sched_setaffinity"):
        return
    processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if share := sorted(os.sched_getaffinity(0))[int(name.removeprefix("gw")) :: processes]:
        os.sched_setaffinity(0, share)


def long_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Those of browsers and of engines first, so that no process is left with a long file."""
    return sorted(items, key=lambda item: item.path.parent.name not in ("browser", "runs"))


def shared_folder(folders: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of a session use."""
    base = folders.getbasetemp()
    # Each process has a folder of its own in the session's.
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = session / name
    folder.mkdir(exist_ok=True)
    return folder
