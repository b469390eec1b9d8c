"""Worker processes of our own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asi_core.errors import Unavailable
from asi_core.runs.cluster import Cluster
from asi_core.settings import Settings
from tests.browser.app import free_port


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(Settings(home=tmp_path, niceness=7))
    yield cluster
    cluster.close()


def tell_niceness(path: Path) -> None:
    """Of the thread that executes a run, and of those that compute for it."""
    torch.ones(500, 500) @ torch.ones(500, 500)
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    computing = [os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir("/proc/self/task")]
    path.write_text(f"{here} {computing.count(here)}")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads threads as Linux does")
def test_runs_give_way_to_those_who_wait_for_a_page(cluster: Cluster, tmp_path: Path) -> None:
    told = tmp_path / "told"
    for attempt in range(2):
        cluster.submit(tell_niceness, told, key=f"tell-{attempt}", priority=0).result(timeout=60)
        niceness, threads = told.read_text().split()
        assert niceness == "7"
        assert int(threads) >= torch.get_num_threads()
        told.unlink()
        (address,) = cluster._client.scheduler_info(n_workers=-1)["workers"]
        assert cluster.restart_worker(address)


def test_a_scheduler_that_is_away_costs_nothing_to_ask_for(tmp_path: Path) -> None:
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    settings = Settings(home=tmp_path, database_url="postgresql://nowhere/asi", scheduler=nowhere)
    before = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(Unavailable, match=f"scheduler at {nowhere} does not answer"):
            Cluster(settings)
    assert set(threading.enumerate()) <= before
