"""Where runs are executed: a local cluster of one worker process, kept warm.

Schedulers execute pickles, so nothing here listens beyond the loopback address.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from functools import partial

import dask
from distributed import Client, Future, LocalCluster, fire_and_forget
from sqlalchemy.exc import SQLAlchemyError

from asi_core.errors import one_sentence
from asi_core.runs.store import RunStore
from asi_core.settings import Settings, read_settings
from asi_core.units import GIB

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
# A worker beats every half second; this long a silence means that it is gone.
_SILENT_SECONDS = 30.0
_WATCH_SECONDS = 10.0

# Dask tells malloc to give memory back after every large tensor and OpenMP to use one thread. The
# page faults of the first made every convolution here four times slower; the worker's runs take
# turns, so each may use all cores and keep what it has allocated.
_WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(GIB),
    "MALLOC_TRIM_THRESHOLD_": str(GIB),
    "OMP_NUM_THREADS": str(os.cpu_count() or 1),
    "OMP_WAIT_POLICY": "passive",
}


class RunEngine:
    """Hands queued runs to a worker process.

    Runs are threads of one process, so that they share frozen features and take turns.
    """

    def __init__(self, settings: Settings, *, silent_seconds: float = _SILENT_SECONDS) -> None:
        self._silent_seconds = silent_seconds
        self._url = settings.database_url
        self._store = RunStore(self._url)
        with dask.config.set({"distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT}):
            self._cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=settings.concurrent_runs,
                processes=True,
                host=_LOOPBACK,
                dashboard_address=f"{_LOOPBACK}:0",
                memory_limit="auto",
                silence_logs=logging.ERROR,
            )
        self._client = Client(self._cluster, set_as_default=False)
        self._submitted: set[str] = set()
        fire_and_forget(self._client.submit(_warm_up, pure=False))
        self._closing = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="run-watchdog", daemon=True)
        self._watchdog.start()

    def submit(self, run_id: str) -> None:
        """Execute a queued run as soon as a thread of the worker is free."""
        self._submitted.add(run_id)
        future = self._client.submit(_execute, run_id, self._url, key=f"run-{run_id}", pure=False)
        future.add_done_callback(partial(self._settled, run_id))
        fire_and_forget(future)

    def _settled(self, run_id: str, future: Future[None]) -> None:
        """A run that no worker could even begin must not wait for ever."""
        if future.status != "error":
            return
        reason = one_sentence(future.exception())
        log.error("run %s could not be executed: %s", run_id, reason)
        self._store.refuse(run_id, f"the worker could not take up the run ({reason}).")

    def recover(self) -> None:
        """Take up queued runs that an earlier process left, and mark those that died with it."""
        interrupted = self._store.interrupt_stale(self._silent_seconds)
        if interrupted:
            log.warning("%d runs had lost their worker", interrupted)
        for run in self._store.active():
            if run.status == "queued" and run.id not in self._submitted:
                self.submit(run.id)

    def _watch(self) -> None:
        """Tell of runs whose worker was lost while the app goes on."""
        while not self._closing.wait(min(_WATCH_SECONDS, self._silent_seconds)):
            try:
                self._store.interrupt_stale(self._silent_seconds)
            except SQLAlchemyError as error:
                log.warning("the store did not answer the watchdog (%s)", error)

    def close(self) -> None:
        """Stop the worker and the scheduler."""
        self._closing.set()
        self._watchdog.join()
        self._client.close()
        self._cluster.close()
        self._store.close()


_engines: dict[int, RunEngine] = {}
_lock = threading.Lock()


def shared_engine() -> RunEngine:
    """This process's engine, started on first use and stopped at exit."""
    with _lock:
        if os.getpid() not in _engines:
            engine = RunEngine(read_settings())
            atexit.register(engine.close)
            engine.recover()
            _engines[os.getpid()] = engine
        return _engines[os.getpid()]


def _execute(run_id: str, url: str) -> None:
    from asi_core.runs.worker import execute

    execute(run_id, url)


def _warm_up() -> None:
    from asi_core.runs.worker import warm_up

    warm_up()
