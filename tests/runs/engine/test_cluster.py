"""Local worker processes, and external schedulers."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
import torch
from distributed.comm import connect
from distributed.security import Security

from asi_core.errors import Unavailable
from asi_core.runs.engine.cluster import Cluster
from asi_core.settings import Settings
from tests.browser.app import free_port
from tests.listening import listening_ends
from tests.waiting import wait_for

_ROLES = ("client", "scheduler", "worker")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(Settings(home=tmp_path, niceness=7))
    yield cluster
    cluster.close()


def tell_niceness(path: Path) -> None:
    """Niceness of the thread that executes a run, and of its computing threads."""
    torch.ones(500, 500) @ torch.ones(500, 500)
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    computing = [os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir("/proc/self/task")]
    path.write_text(f"{here} {computing.count(here)}")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads threads as Linux does")
def test_runs_have_a_lower_priority_than_pages(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "niceness"
    for attempt in range(2):
        cluster.submit(tell_niceness, path, key=f"tell-{attempt}", priority=0).result(timeout=60)
        niceness, threads = path.read_text().split()
        assert niceness == "7"
        assert int(threads) >= torch.get_num_threads()
        path.unlink()
        (address,) = cluster._client.scheduler_info(n_workers=-1)["workers"]
        assert cluster.restart_worker(address)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_a_terminal_ends_the_server_only(cluster: Cluster) -> None:
    """A terminal signals all processes that run in it."""
    own = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not own & {signal.SIGINT, signal.SIGHUP}, "the server gets the signal"
    for attempt in range(2):
        process = psutil.Process(
            cluster.submit(os.getpid, key=f"pid-{attempt}", priority=0).result(timeout=60)
        )
        for number in (signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        again = cluster.submit(os.getpid, key=f"again-{attempt}", priority=0).result(timeout=60)
        assert again == process.pid
        (address,) = cluster._client.scheduler_info(n_workers=-1)["workers"]
        assert cluster.restart_worker(address)


def test_a_worker_that_closes_logs_no_lost_heartbeat(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its heartbeat may be on its way when the server is ended by Ctrl-C."""
    # Started here and not by the fixture: the worker writes to where the test's process does now.
    cluster = Cluster(Settings(home=tmp_path))
    waiting, never = threading.Event(), asyncio.Event()

    async def no_answer(**_: Any) -> None:
        waiting.set()
        await never.wait()

    assert cluster._local is not None
    cluster._local.scheduler.handlers["heartbeat_worker"] = no_answer
    assert waiting.wait(timeout=30)
    cluster.close()
    assert capfd.readouterr().err == ""


def test_a_heartbeat_that_fails_while_a_worker_works_is_logged(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cluster = Cluster(Settings(home=tmp_path))
    again, calls = threading.Event(), count()

    async def broken(**_: Any) -> None:
        if next(calls):
            again.set()
        raise OSError("no answer today")

    assert cluster._local is not None
    cluster._local.scheduler.handlers["heartbeat_worker"] = broken
    assert again.wait(timeout=30), "the first answer has arrived before the second question"
    cluster.close()
    assert "no answer today" in capfd.readouterr().err


def test_an_unreachable_scheduler_leaves_no_threads(tmp_path: Path) -> None:
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    settings = Settings(home=tmp_path, database_url="postgresql://nowhere/asi", scheduler=nowhere)
    before = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(Unavailable, match=f"scheduler at {nowhere} does not answer"):
            Cluster(settings)
    assert set(threading.enumerate()) <= before


def ports() -> set[int]:
    """Ports on which this process and its child processes listen."""
    ends = listening_ends()
    assert {end.ip for end in ends} <= {"127.0.0.1"}, "only loopback addresses are used"
    return {end.port for end in ends}


def is_answered(address: str, security: Security) -> bool:
    """Whether a connection with these keys, or with none, is accepted."""

    async def ask() -> bool:
        try:
            comm = await connect(address, timeout=3, **security.get_connection_args("client"))
        except (OSError, TimeoutError, TypeError):
            return False
        comm.abort()
        return True

    return asyncio.run(ask())


def status_of_page(port: int, page: str) -> int:
    """The HTTP status of the port; 0 if it does not speak HTTP."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=3) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except (OSError, http.client.HTTPException):
        return 0


def test_a_connection_without_the_secret_is_refused(tmp_path: Path) -> None:
    """Scheduler, nanny and worker execute what they receive, and all accounts reach loopback."""
    others = ports()
    cluster = Cluster(Settings(home=tmp_path))
    try:
        own = cluster._client.security
        scheduler = cluster._client.scheduler.address
        (worker,) = cluster._client.scheduler_info(n_workers=-1)["workers"]
        assert is_answered(scheduler, own)
        assert is_answered(worker, own)
        opened = ports() - others
        pages = {port for port in opened if status_of_page(port, "")}
        for page in ("info/main/workers.html", "json/counts.json", "metrics", "health", "statics/"):
            assert {status_of_page(port, page) for port in pages} == {404}
        assert len(opened - pages) == 3, "the scheduler, the nanny and the worker"
        for port in opened - pages:
            assert not is_answered(f"tcp://127.0.0.1:{port}", Security())
            assert not is_answered(f"tls://127.0.0.1:{port}", Security.temporary())
    finally:
        cluster.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Settings, dict[str, Any]]]:
    """An external scheduler with certificates, and Dask's configuration for them."""
    own = Security.temporary()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(str(own.tls_client_cert))
    key.write_text(str(own.tls_client_key))
    named: dict[str, Any] = {"distributed.comm.tls.ca-file": str(certificate)}
    for role in _ROLES:
        named[f"distributed.comm.tls.{role}.cert"] = str(certificate)
        named[f"distributed.comm.tls.{role}.key"] = str(key)
    variables = {
        f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value
        for name, value in named.items()
    }
    address = f"tls://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", address, "--no-dashboard"]
    with (tmp_path / "log").open("ab") as log:
        started = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
    settings = Settings(home=tmp_path, database_url="postgresql://nowhere/asi", scheduler=address)
    yield settings, named
    started.kill()
    started.wait(timeout=30)


def test_a_scheduler_with_certificates_requires_one(
    guarded: tuple[Settings, dict[str, Any]],
) -> None:
    settings, named = guarded

    def connected() -> Cluster | None:
        try:
            return Cluster(settings)
        except Unavailable:
            return None

    with dask.config.set(named):
        cluster = wait_for(connected, 60, "the scheduler")
        assert cluster.is_connected
        assert not cluster.is_ours
        cluster.close()
    before = set(threading.enumerate())
    with pytest.raises(Unavailable, match="requires a certificate"):
        Cluster(settings)
    stranger = Security.temporary()
    wrong = {
        name: stranger.tls_client_key if name.endswith("key") else stranger.tls_client_cert
        for name in named
    }
    with dask.config.set(wrong), pytest.raises(Unavailable, match="does not answer"):
        Cluster(settings)
    assert set(threading.enumerate()) <= before
