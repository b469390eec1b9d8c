"""Where runs are executed: in local worker processes, or by the workers of a Dask scheduler.

Schedulers execute pickles. So local processes listen on the loopback address only, and accept only
connections with the cluster's key, as other accounts of the machine can reach the same address.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from ssl import SSLContext
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, Worker, WorkerPlugin, fire_and_forget
from distributed.comm.addressing import get_address_host_port
from distributed.core import Status
from distributed.security import Security

from asi_core.errors import Unavailable, one_sentence
from asi_core.settings import Settings
from asi_core.units import GIB

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 10.0


class Niceness(WorkerPlugin):
    """Lower the priority of a worker's threads, so that pages stay responsive.

    Args:
        niceness: as `Settings.niceness`; ignored on systems without niceness.
    """

    # Registered by name, so that a restarted worker gets it too.
    name = "give-way"

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness

    def setup(self, worker: Worker) -> None:
        """Set the niceness before the first run, as new threads inherit it."""
        if hasattr(os, "setpriority"):
            here = os.getpriority(os.PRIO_PROCESS, 0)
            # Only root may lower the niceness.
            os.setpriority(os.PRIO_PROCESS, 0, max(here, self._niceness))


class NoLostHeartbeats(WorkerPlugin):
    """Log nothing about heartbeats that were on their way when a worker was closed.

    A worker that closes ends its connections. A heartbeat that still waits for its answer then
    fails, and Dask logs its traceback as an error, also if nothing is wrong: once in a while, on
    Ctrl-C. Heartbeats that fail while a worker works are logged as before.
    """

    name = "no-lost-heartbeats"

    def setup(self, worker: Worker) -> None:
        """Filter the log of Dask's workers in this process."""

        def is_news(record: logging.LogRecord) -> bool:
            error = record.exc_info[1] if record.exc_info else None
            ending = worker.status not in (Status.init, Status.running, Status.paused)
            return not (ending and isinstance(error, OSError))

        logging.getLogger("distributed.worker").addFilter(is_news)


class Cluster:
    """Worker processes to which tasks are submitted.

    Attributes:
        is_ours: whether the processes are started and stopped by this object.

    Raises:
        Unavailable: if the scheduler in the settings does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_ours = settings.scheduler is None
        self._local: LocalCluster | None = None
        self._client = self._start()

    def submit(
        self, task: Callable[..., None], *arguments: Any, key: str, priority: int
    ) -> Future[None]:
        """Have `task` executed by some worker, even if the future is discarded."""
        future = self._client.submit(task, *arguments, key=key, pure=False, priority=priority)
        fire_and_forget(future)
        return future

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is connected."""
        return bool(self._client.status == "running")

    def knows(self, address: str) -> bool:
        """Whether a worker process belongs to this cluster."""
        if not self.is_connected:
            return False
        return address in self._client.scheduler_info(n_workers=-1)["workers"]

    def restart_worker(self, address: str) -> bool:
        """Kill one worker process and start another; returns whether it was known."""
        if not self.knows(address):
            return False
        self._client.restart_workers([address], raise_for_error=False)
        return True

    def restart(self) -> None:
        """Reconnect, with new workers if they are local.

        Raises:
            Unavailable: if the scheduler does not answer.
        """
        self.close()
        self._client = self._start()

    def close(self) -> None:
        """Disconnect, and stop local workers."""
        try:
            self._client.close(timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            log.warning("the scheduler is gone already (%s)", one_sentence(error))
        if self._local is not None:
            self._local.close()
            self._local = None

    def _start(self) -> Client:
        if self._settings.scheduler is not None:
            return _client_of(self._settings.scheduler)
        with dask.config.set(_configuration(self._settings)), _no_signals_of_terminals():
            self._local = LocalCluster(
                # A new key per cluster, in memory only. Connections without it are closed before
                # anything is read.
                security=Security.temporary(),
                n_workers=self._settings.workers,
                threads_per_worker=self._settings.concurrent_runs,
                processes=True,
                host=_LOOPBACK,
                dashboard_address=f"{_LOOPBACK}:0",
                memory_limit=self._settings.worker_memory_bytes or "auto",
                silence_logs=logging.ERROR,
            )
        try:
            client = Client(self._local, set_as_default=False)
            client.register_plugin(Niceness(self._settings.niceness))
            client.register_plugin(NoLostHeartbeats())
        except BaseException:
            self._local.close()
            raise
        return client


@contextmanager
def _no_signals_of_terminals() -> Iterator[None]:
    """Threads and processes started within ignore Ctrl-C and a closed terminal.

    A terminal signals all processes that run in it. The server shuts its workers down itself; a
    worker that ended by the signal would be treated as lost. Threads and processes inherit the
    blocked signals of the thread that starts them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        # Windows.
        yield
        return
    terminal = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, terminal)
    try:
        # Otherwise multiprocessing starts it before its first process, and then unblocks Ctrl-C.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, terminal)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _client_of(scheduler: str) -> Client:
    try:
        _check_reachable(scheduler)
        return Client(scheduler, set_as_default=False, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise Unavailable(
            f"the Dask scheduler at {scheduler} does not answer ({one_sentence(error)}): start it, "
            "or change ASI_SCHEDULER."
        ) from error


def _check_reachable(scheduler: str) -> None:
    """Read a first byte from a scheduler, as a `Client` that cannot connect leaks its threads.

    Raises:
        Unavailable: if its address needs certificates that are not configured.
        OSError, ValueError: if it cannot be reached, or refuses the certificate.
    """
    with socket.create_connection(get_address_host_port(scheduler), _CONNECT_SECONDS) as plain:
        if not scheduler.startswith("tls://"):
            _receive_byte(plain)
            return
        context: SSLContext | None = Security().get_connection_args("client")["ssl_context"]
        if context is None:
            raise Unavailable(
                f"the Dask scheduler at {scheduler} requires a certificate, and this app has none: "
                "set its files in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
                "..._TLS__CLIENT__CERT and ..._TLS__CLIENT__KEY."
            )
        with context.wrap_socket(plain) as encrypted:
            _receive_byte(encrypted)


def _receive_byte(connection: socket.socket) -> None:
    # A Dask server sends the first message.
    if not connection.recv(1):
        raise ConnectionResetError("it closed the connection")


def _configuration(settings: Settings) -> dict[str, Any]:
    """Dask's configuration for local workers."""
    return {
        "distributed.nanny.pre-spawn-environ": _environment(settings),
        # Dask's web pages and metrics have no authentication.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }


def _environment(settings: Settings) -> dict[str, str]:
    """Environment variables of a local worker.

    Dask sets malloc to return memory after every large tensor, and OpenMP to one thread. Page
    faults of the former made every convolution here four times slower. As a worker's runs
    alternate, each may use all threads and keep its allocated memory. Threads spin between two
    products, which is PyTorch's default: sleeping made small eigenvalue problems half as fast.
    """
    return {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(GIB),
        "MALLOC_TRIM_THRESHOLD_": str(GIB),
        "OMP_NUM_THREADS": str(settings.threads_each),
        "ASI_THREADS": str(settings.threads_each),
    }
