"""The engine: submits queued runs and jobs to workers, and monitors the active ones."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time

from asi_core.errors import Unavailable, one_sentence
from asi_core.runs.engine.cluster import Cluster
from asi_core.runs.engine.dispatcher import Dispatcher, What, new_key
from asi_core.runs.engine.housekeeping import tidy
from asi_core.runs.engine.watch import Watch, surely_lost
from asi_core.runs.store.attempts import MOST_TRIES, Attempts, Running
from asi_core.runs.store.database import STORE_ERRORS, reason_of
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.settings import Settings, read_settings

log = logging.getLogger(__name__)

# Workers send a heartbeat every half second; without one for this long, an attempt is lost.
_SILENT_SECONDS = 15.0
_STUCK_SECONDS = 10.0
# Factor on both times for the workers of another server.
_FOREIGN_PATIENCE = 3.0
_PATROL_SECONDS = 1.0
# If runs are queued but none is started or active for this long, the workers are replaced.
_STALLED_SECONDS = 60.0
_TIDY_SECONDS = 3600.0


class RunEngine:
    """Executes the queued runs and jobs of the store.

    Every queued run has a task at Dask's scheduler. A worker with a free thread takes a task and
    starts whichever run is next in the queue. Runs and jobs are threads of few processes,
    so that they share frozen features and alternate.

    Args:
        silent_seconds: seconds without a heartbeat after which an attempt is lost.

    Raises:
        Unavailable: if the scheduler in the settings does not answer.
        SQLAlchemyError, OSError: if the store cannot be opened.
    """

    def __init__(self, settings: Settings, *, silent_seconds: float = _SILENT_SECONDS) -> None:
        self._settings, self._url = settings, settings.database_url
        self._checkpoints = str(settings.checkpoints_dir) if settings.scheduler is None else None
        self._store, self._jobs = RunStore(self._url), JobStore(self._url)
        self._library = RunLibrary(self._url)
        self._tidy_at = time.monotonic() + _PATROL_SECONDS
        self._watches: dict[What, Watch] = {
            "run": Watch(silent_seconds, _STUCK_SECONDS, self._patience),
            "job": Watch(silent_seconds, _STUCK_SECONDS, self._patience),
        }
        try:
            self._cluster = Cluster(settings)
        except BaseException:
            self._close_stores()
            raise
        self._dispatcher = Dispatcher(self._cluster, self._url, self._checkpoints, self._refuse)
        # True until the rows left by an earlier process have been submitted.
        self._recovering = False
        # Workers that were killed because of one of their runs. For the others it counts as no try.
        self._ended_workers: set[str] = set()
        self._last_begun = time.monotonic()
        for _ in range(settings.workers if self._cluster.is_ours else 0):
            self._cluster.submit(_warm_up, key=new_key("warm-up"), priority=2)
        self._closing = threading.Event()
        # One patrol at a time; launching a run does not wait for it.
        self._patrolling = threading.Lock()
        self._watchdog = threading.Thread(target=self._patrols, name="run-watchdog", daemon=True)
        self._watchdog.start()

    def submit(self, run_id: str) -> None:
        """Execute a queued run as soon as a worker thread is free and it is next in the queue."""
        self._dispatcher.submit("run", run_id)

    def submit_job(self, job_id: str) -> None:
        """Execute a queued job as soon as a worker thread is free, before queued runs."""
        self._dispatcher.submit("job", job_id)

    def recover(self) -> None:
        """Submit what an earlier process left queued, and what has lost its worker.

        If the store or the scheduler does not answer, a later patrol does it.
        """
        self._recovering = True
        self._try_patrol()

    def close(self) -> None:
        """Stop local workers; their runs and jobs are queued again."""
        self._closing.set()
        self._watchdog.join()
        self._cluster.close()
        try:
            self._put_all_back()
        except STORE_ERRORS as error:
            log.warning("the store did not answer at the end (%s)", reason_of(error))
        self._close_stores()

    def _close_stores(self) -> None:
        for opened in (self._store, self._jobs, self._library):
            opened.close()

    def _refuse(self, what: What, row_id: str, error: str) -> None:
        # If anything is active, some workers do work: the row waits for those.
        if not self._going():
            self._attempts(what).refuse(row_id, error)

    # Watching -----------------------------------------------------------------------------------

    def _patrols(self) -> None:
        while not self._closing.wait(_PATROL_SECONDS):
            self._try_patrol()

    def _try_patrol(self) -> None:
        try:
            self._patrol()
        except STORE_ERRORS as error:
            log.warning("the store did not answer the watchdog (%s)", reason_of(error))
            self._reset_watches()
        except Unavailable as error:
            log.warning("%s", one_sentence(error))
        except Exception:
            # Whatever the error, the watchdog must keep running.
            log.exception("error in the watchdog")

    def _reset_watches(self) -> None:
        for watch in self._watches.values():
            watch.forget()
        self._last_begun = time.monotonic()

    def _patrol(self) -> None:
        with self._patrolling:
            for what, watch in self._watches.items():
                lost, stuck = watch.check(self._attempts(what).running())
                for attempt in surely_lost(self._attempts(what), lost, self._closing.wait):
                    self._take_back(what, attempt)
                for attempt in stuck:
                    self._end_stuck(attempt)
            self._submit_waiting(everything=self._recovering)
            self._recovering = False
            self._mend_cluster()
            self._tidy()

    def _patience(self, attempt: Running) -> float:
        """Allow another server more time, as it replaces its own workers."""
        where = WorkerId.read(attempt.worker)
        is_ours = where is not None and self._cluster.knows(where.address)
        return 1.0 if is_ours else _FOREIGN_PATIENCE

    def _take_back(self, what: What, attempt: Running) -> None:
        """Requeue a lost attempt, or end it if it was cancelled or has no tries left."""
        count_attempt = attempt.worker not in self._ended_workers
        # A process that hangs would be given the next runs as well.
        self._replace_worker(attempt.worker)
        if attempt.cancel_requested:
            self._store.end_lost(attempt, "cancelled", None)
        elif attempt.tries < MOST_TRIES or not count_attempt:
            if self._put_back(what, attempt, count_attempt=count_attempt):
                self._dispatcher.take_over(attempt.id)
                log.warning("%s %s lost its worker and is queued again", what, attempt.id)
        else:
            error = (
                f"its worker process ended {MOST_TRIES} times at the same place, killed or out of "
                "memory: make the batch, the images or the trained part smaller."
            )
            if what == "run":
                self._store.end_lost(attempt, "failed", error)
            else:
                self._jobs.attempts.end(attempt.id, attempt.token, status="failed", error=error)

    def _end_stuck(self, attempt: Running) -> None:
        """Cancel a run that did not stop, and replace its process, which hangs."""
        log.warning("run %s did not stop", attempt.id)
        self._store.end_lost(attempt, "cancelled", None)
        self._replace_worker(attempt.worker)

    def _replace_worker(self, worker: str | None) -> None:
        where = WorkerId.read(worker)
        if worker is None or where is None or where.is_gone or worker in self._ended_workers:
            return
        if self._cluster.restart_worker(where.address):
            self._ended_workers.add(worker)
            log.warning("replaced worker process %d", where.pid)

    def _submit_waiting(self, *, everything: bool) -> None:
        self._dispatcher.submit_waiting(self._waiting, everything=everything)

    def _waiting(self) -> dict[What, dict[str, float]]:
        return {"run": self._store.queued(), "job": self._jobs.queued()}

    def _tidy(self) -> None:
        """Tidy once an hour, and soon after the start."""
        now = time.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY_SECONDS
            tidy(self._settings, self._store, self._library, self._jobs)

    def _mend_cluster(self) -> None:
        """Reconnect if the scheduler was lost, or if its workers no longer start anything."""
        now = time.monotonic()
        is_idle = bool(self._dispatcher) and any(self._waiting().values()) and not self._going()
        if not is_idle:
            self._last_begun = now
        stalled = self._cluster.is_ours and now - self._last_begun > _STALLED_SECONDS
        if self._cluster.is_connected and not stalled:
            return
        log.warning("the workers start nothing: replacing them")
        self._last_begun = now
        self._dispatcher.forget()
        self._cluster.restart()
        self._submit_waiting(everything=True)

    def _going(self) -> bool:
        return bool(self._store.attempts.running() or self._jobs.attempts.running())

    def _put_all_back(self) -> None:
        """Requeue the attempts of workers that were shut down."""
        for what in self._watches:
            for attempt in self._attempts(what).running():
                if attempt.is_gone:
                    self._put_back(what, attempt, count_attempt=False)

    def _put_back(self, what: What, attempt: Running, *, count_attempt: bool) -> bool:
        if what == "run":
            return self._store.put_back(attempt, count_attempt=count_attempt)
        return self._jobs.attempts.requeue(attempt.id, attempt.token, count_attempt=count_attempt)

    def _attempts(self, what: What) -> Attempts:
        return self._store.attempts if what == "run" else self._jobs.attempts


_engines: dict[int, RunEngine] = {}
_lock = threading.Lock()


def shared_engine() -> RunEngine:
    """This process's engine, started on first use and stopped at exit."""
    with _lock:
        if os.getpid() not in _engines:
            engine = _engines[os.getpid()] = RunEngine(read_settings())
            atexit.register(engine.close)
            engine.recover()
        return _engines[os.getpid()]


def close_shared_engine() -> None:
    """Stop this process's engine now instead of at exit, if there is one."""
    with _lock:
        engine = _engines.pop(os.getpid(), None)
    if engine is not None:
        atexit.unregister(engine.close)
        engine.close()


def _warm_up() -> None:
    from asi_core.runs.engine.worker import warm_up

    warm_up()
