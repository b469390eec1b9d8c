"""Where runs are executed: a local cluster of one worker process, kept warm.

Schedulers execute pickles, so nothing here listens beyond the loopback address.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from functools import partial

import dask
from distributed import Client, Future, LocalCluster, fire_and_forget
from sqlalchemy.exc import SQLAlchemyError

from asi_core.errors import one_sentence
from asi_core.runs.jobs import JobStore
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
# turns, so each may use all cores and keep what it has allocated. Threads wait actively between two
# products, as PyTorch's own default is: asleep they made small eigenvalue problems half as fast.
_WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(GIB),
    "MALLOC_TRIM_THRESHOLD_": str(GIB),
    "OMP_NUM_THREADS": str(os.cpu_count() or 1),
}


class RunEngine:
    """Hands queued runs and jobs to a worker process.

    They are threads of one process, so that they share frozen features and take turns.
    """

    def __init__(self, settings: Settings, *, silent_seconds: float = _SILENT_SECONDS) -> None:
        self._silent_seconds = silent_seconds
        self._url = settings.database_url
        self._store = RunStore(self._url)
        self._jobs = JobStore(self._url)
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
        self._hand_over(_execute, "run", run_id, self._store.refuse, priority=0)

    def submit_job(self, job_id: str) -> None:
        """Answer a queued job as soon as a thread of the worker is free: before queued runs."""
        self._hand_over(_execute_job, "job", job_id, self._jobs.refuse, priority=1)

    def _hand_over(
        self,
        task: Callable[[str, str], None],
        what: str,
        row_id: str,
        refuse: Callable[[str, str], bool],
        priority: int,
    ) -> None:
        self._submitted.add(row_id)
        future = self._client.submit(
            task, row_id, self._url, key=f"{what}-{row_id}", pure=False, priority=priority
        )
        future.add_done_callback(partial(_settled, what, row_id, refuse))
        fire_and_forget(future)

    def recover(self) -> None:
        """Take up what an earlier process left queued, and mark what died with it."""
        self._interrupt_stale()
        for run in self._store.active():
            if run.status == "queued" and run.id not in self._submitted:
                self.submit(run.id)
        for job_id in self._jobs.queued():
            if job_id not in self._submitted:
                self.submit_job(job_id)

    def _interrupt_stale(self) -> None:
        for what, store in (("runs", self._store), ("jobs", self._jobs)):
            if interrupted := store.interrupt_stale(self._silent_seconds):
                log.warning("%d %s had lost their worker", interrupted, what)

    def _watch(self) -> None:
        """Tell of what has lost its worker while the app goes on."""
        while not self._closing.wait(min(_WATCH_SECONDS, self._silent_seconds)):
            try:
                self._interrupt_stale()
            except SQLAlchemyError as error:
                log.warning("the store did not answer the watchdog (%s)", error)

    def close(self) -> None:
        """Stop the worker and the scheduler."""
        self._closing.set()
        self._watchdog.join()
        self._client.close()
        self._cluster.close()
        self._store.close()
        self._jobs.close()


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


def _settled(
    what: str, row_id: str, refuse: Callable[[str, str], bool], future: Future[None]
) -> None:
    """What no worker could even begin must not wait for ever."""
    if future.status != "error":
        return
    reason = one_sentence(future.exception())
    log.error("%s %s could not be executed: %s", what, row_id, reason)
    refuse(row_id, f"the worker could not take up the {what} ({reason}).")


def _execute(run_id: str, url: str) -> None:
    from asi_core.runs.worker import execute

    execute(run_id, url)


def _execute_job(job_id: str, url: str) -> None:
    from asi_core.runs.job_worker import execute_job

    execute_job(job_id, url)


def _warm_up() -> None:
    from asi_core.runs.worker import warm_up

    warm_up()
