"""Where runs are executed: worker processes of our own, or those of somebody's Dask scheduler.

Schedulers execute pickles, so nothing of our own listens beyond the loopback address, and what
listens there talks only to those who have the cluster's key: other accounts of the machine reach
the same address.
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
from distributed.security import Security

from asi_core.errors import Unavailable, one_sentence
from asi_core.settings import Settings
from asi_core.units import GIB

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 10.0


class Niceness(WorkerPlugin):
    """Lets a worker's threads wait for those of people: a page is asked for by somebody who waits.

    Args:
        niceness: as `Settings.niceness`; systems that know none ignore it.
    """

    # A worker that is started anew has it too.
    name = "give-way"

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness

    def setup(self, worker: Worker) -> None:
        """Before the first run: threads have the niceness of the thread that starts them."""
        if hasattr(os, "setpriority"):
            here = os.getpriority(os.PRIO_PROCESS, 0)
            # Who gives way more already may not give way less.
            os.setpriority(os.PRIO_PROCESS, 0, max(here, self._niceness))


class Cluster:
    """Worker processes, and the way to hand them something.

    Attributes:
        is_ours: whether the processes are started and stopped here.

    Raises:
        Unavailable: if the scheduler that the settings name does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_ours = settings.scheduler is None
        self._local: LocalCluster | None = None
        self._client = self._start()

    def submit(
        self, task: Callable[..., None], *arguments: Any, key: str, priority: int
    ) -> Future[None]:
        """Have `task` executed by some worker, even if nobody keeps the future."""
        future = self._client.submit(task, *arguments, key=key, pure=False, priority=priority)
        fire_and_forget(future)
        return future

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there."""
        return bool(self._client.status == "running")

    def knows(self, address: str) -> bool:
        """Whether a worker process is one of this cluster's."""
        if not self.is_connected:
            return False
        return address in self._client.scheduler_info(n_workers=-1)["workers"]

    def restart_worker(self, address: str) -> bool:
        """End one worker process at once and start another; returns whether it was known."""
        if not self.knows(address):
            return False
        self._client.restart_workers([address], raise_for_error=False)
        return True

    def restart(self) -> None:
        """Connect anew, with new workers if they are our own.

        Raises:
            Unavailable: if the scheduler does not answer.
        """
        self.close()
        self._client = self._start()

    def close(self) -> None:
        """Disconnect, and end workers that are our own."""
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
                # Made anew for each cluster, and in memory alone: whoever has no key, which all
                # sides of a connection show each other, is hung up on before anything is read.
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
        except BaseException:
            self._local.close()
            raise
        return client


@contextmanager
def _no_signals_of_terminals() -> Iterator[None]:
    """Within, threads and processes are started that Ctrl-C and a closed terminal do not reach.

    A terminal signals all processes that run in it. The server's own ends the workers in good
    order; a worker that ended by itself would be taken for a lost one. What a thread blocks, the
    threads and processes that it starts block too.
    """
    if not hasattr(signal, "pthread_sigmask"):
        # Windows.
        yield
        return
    terminal = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, terminal)
    try:
        # multiprocessing starts it before its first process, and then unblocks Ctrl-C.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, terminal)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _client_of(scheduler: str) -> Client:
    try:
        _knock(scheduler)
        return Client(scheduler, set_as_default=False, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise Unavailable(
            f"the Dask scheduler at {scheduler} does not answer ({one_sentence(error)}): start it, "
            "or change ASI_SCHEDULER."
        ) from error


def _knock(scheduler: str) -> None:
    """Hear a first byte from a scheduler: clients that find nobody leave their threads behind.

    Raises:
        Unavailable: if its address asks for certificates that are not configured.
        OSError, ValueError: if nobody is there, or it does not take ours.
    """
    with socket.create_connection(get_address_host_port(scheduler), _CONNECT_SECONDS) as plain:
        if not scheduler.startswith("tls://"):
            _hear(plain)
            return
        context: SSLContext | None = Security().get_connection_args("client")["ssl_context"]
        if context is None:
            raise Unavailable(
                f"the Dask scheduler at {scheduler} talks to those alone who have a certificate, "
                "and this app has none: name its files in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
                "..._TLS__CLIENT__CERT and ..._TLS__CLIENT__KEY."
            )
        with context.wrap_socket(plain) as encrypted:
            _hear(encrypted)


def _hear(connection: socket.socket) -> None:
    # Whoever listens for Dask begins to talk.
    if not connection.recv(1):
        raise ConnectionResetError("it hung up")


def _configuration(settings: Settings) -> dict[str, Any]:
    """Of Dask, for workers of our own."""
    return {
        "distributed.nanny.pre-spawn-environ": _environment(settings),
        # Pages and metrics of Dask ask nobody for a key.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }


def _environment(settings: Settings) -> dict[str, str]:
    """What a worker of our own finds in its environment.

    Dask tells malloc to give memory back after every large tensor and OpenMP to use one thread. The
    page faults of the first made every convolution here four times slower; a worker's runs take
    turns, so each may use all its threads and keep what it has allocated. Threads wait actively
    between two products, as PyTorch's own default is: asleep they made small eigenvalue problems
    half as fast.
    """
    return {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(GIB),
        "MALLOC_TRIM_THRESHOLD_": str(GIB),
        "OMP_NUM_THREADS": str(settings.threads_each),
        "ASI_THREADS": str(settings.threads_each),
    }
