"""Executing one run: read it from the store, train, store events and results."""

from __future__ import annotations

import logging
import math
import os
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch

from asi_core.datasets import check_images
from asi_core.errors import AsiError, Unavailable, one_sentence
from asi_core.methods import Vanilla
from asi_core.runs.engine.listeners import Listeners
from asi_core.runs.engine.reporter import Reporter
from asi_core.runs.engine.serial_executor import SerialExecutor, in_turns
from asi_core.runs.records import RunRecord
from asi_core.runs.store.attempts import MustWait
from asi_core.runs.store.checkpoint_files import checkpoint_path, final_path
from asi_core.runs.store.database import STORE_ERRORS, AttemptLost
from asi_core.runs.store.retry import StoreTimeout, retry
from asi_core.runs.store.run_log import lines_of_this_context
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.runs.submit.fingerprint import fingerprints_of
from asi_core.runs.submit.lengthening import check_unchanged
from asi_core.settings import read_settings
from asi_core.training.checkpoint import TrainingState, read_state
from asi_core.training.events import Event
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.loop import fine_tune
from asi_core.training.setup import default_device
from asi_core.training.spec import RunSpec
from asi_core.units import format_seconds

log = logging.getLogger(__name__)


# Held while a thread of this process claims a run or job, so that each sees the others' claims.
claiming = threading.Lock()
_CREATING = threading.Lock()
# How long to wait for the store before anything is claimed.
OPENING_SECONDS = 10.0
# How long a thread sleeps if it may not start what is next.
LATER_SECONDS = 2.0


def _use_threads() -> None:
    # Dask sets OpenMP to one thread; here one thread computes at a time and may use all cores.
    torch.set_num_threads(read_settings().threads_each)


@dataclass(frozen=True)
class WorkerContext:
    """State shared by the runs of one process."""

    executor: SerialExecutor = field(default_factory=lambda: SerialExecutor(_use_threads))
    features: FeaturePool = field(default_factory=installed_pool)


def worker_context() -> WorkerContext:
    """This process's context, created on first use."""
    # A cache alone would call twice for two threads that come first together, as the warm-up and
    # a job may: two executors, which would compute at the same time.
    with _CREATING:
        return _only_context()


@lru_cache(maxsize=1)
def _only_context() -> WorkerContext:
    return WorkerContext()


@lru_cache(maxsize=4)
def open_store(url: str) -> RunStore:
    """This process's run store at `url`: one SQLAlchemy engine per process."""
    return RunStore(url)


def warm_up() -> None:
    """Do once what a run does before its first step, so that the first run starts faster."""
    spec, context = RunSpec(method=Vanilla()), worker_context()
    try:
        next(in_turns(fine_tune(spec, features=context.features), context.executor))
    except AsiError as error:
        log.warning("the worker could not warm up: %s", one_sentence(error))


def execute_next(url: str, checkpoints: str | None = None, address: str = "") -> None:
    """Execute the next queued run; do nothing if none is queued.

    Afterwards the store has its measurements, its status, and its error if it failed.

    Args:
        url: URL of the store.
        checkpoints: folder of the checkpoints; None for the folder in this process's settings.
        address: this process's address at the Dask scheduler.

    Raises:
        SQLAlchemyError: if the store cannot be opened.
        StoreTimeout: if it does not answer for long.
    """
    store = retry(lambda: open_store(url), OPENING_SECONDS)
    try:
        with claiming:
            claimed = retry(lambda: store.claim_next(str(WorkerId.here(address))))
    except MustWait:
        # This task is done, and another will be submitted at once.
        time.sleep(LATER_SECONDS)
        return
    if claimed is not None:
        folder = Path(checkpoints) if checkpoints else read_settings().checkpoints_dir
        _execute(store, *claimed, checkpoint_path(folder, claimed[0].id))


def execute(run_id: str, url: str) -> None:
    """Execute the queued run `run_id`; do nothing if another attempt has it."""
    store = open_store(url)
    token = store.attempts.claim(run_id, str(WorkerId.here()))
    run = store.run(run_id)
    if token is not None and run is not None:
        _execute(store, run, token, checkpoint_path(read_settings().checkpoints_dir, run_id))


def _execute(store: RunStore, run: RunRecord, token: str, checkpoint: Path) -> None:
    context = worker_context()
    reporter = Reporter(
        *(store, run.id, token, checkpoint, lambda: context.executor.turns),
        final_bytes=read_settings().checkpoint_bytes,
        listeners=Listeners(run),
    )
    try:
        with reporter, lines_of_this_context(reporter.add_line):
            _train(store, run, token, reporter, checkpoint)
    except AttemptLost:
        log.warning("run %s was taken over by another attempt", run.id)
    except StoreTimeout as silence:
        log.error("run %s is queued again: %s", run.id, silence)
        # Before the watchdog treats this process as lost, which would count as a try.
        retry(lambda: store.attempts.requeue(run.id, token, count_attempt=False), math.inf)


def _train(
    store: RunStore, run: RunRecord, token: str, reporter: Reporter, checkpoint: Path
) -> None:
    context = worker_context()
    stop = _StopCheck(store, run.id, reporter)
    try:
        log.info(
            "attempt %d by process %d on %s, %d threads",
            run.attempt,
            os.getpid(),
            platform.node(),
            context.executor.run(torch.get_num_threads),
        )
        # Computed now, as files may have changed since the launch.
        (fingerprint,) = fingerprints_of([run.spec])
        retry(lambda: store.attempts.write(run.id, token, fingerprint=fingerprint))
        stream = fine_tune(
            run.spec,
            should_stop=stop.requested,
            features=context.features,
            resume=_earlier(store, run, reporter, checkpoint),
            keep=reporter.keep,
        )
        for item in in_turns(_with_checked_images(run.spec, stream, stop), context.executor):
            if item is not None:
                reporter.add(item)
    except (AttemptLost, StoreTimeout):
        raise
    except AsiError as error:
        log.error("failed: %s", one_sentence(error))
        reporter.end("failed", one_sentence(error))
    except Exception as error:
        # The boundary of the worker: no error of a run may stop other runs.
        log.exception("run %s failed", run.id)
        reporter.end("failed", f"{type(error).__name__}: {one_sentence(error)}")
    else:
        log.info("all done after %s", format_seconds(reporter.seconds))
        done = reporter.reached(run.spec.steps)
        if stop.too_late and not done:
            reporter.end("failed", stop.too_late)
        else:
            reporter.end("completed" if done else "cancelled", None)


def _with_checked_images(
    spec: RunSpec, stream: Iterator[Event], stop: _StopCheck
) -> Iterator[Event | None]:
    """The run's events, preceded by one None per part of its images that was checked.

    Other runs get their turns in between, and the run can be cancelled.
    """
    for _ in check_images(spec.dataset):
        if stop.requested():
            return
        yield None
    yield from stream


def _earlier(
    store: RunStore, run: RunRecord, reporter: Reporter, checkpoint: Path
) -> TrainingState | None:
    """The state to resume from; None if the run starts from the beginning."""
    reporter.gains_beyond(retry(lambda: store.last_step(run.id)))
    try:
        state = read_state(checkpoint, run.spec, default_device())
        if state is None and run.begins_from is not None:
            state = retry(lambda: _state_before(store, run, checkpoint.parent.parent))
    except Unavailable as error:
        log.warning("%s", one_sentence(error))
        return None
    if state is None:
        return None
    events = retry(lambda: store.events_up_to(run.id, state.step))
    if sum(event.kind == "step" for event in events) != state.step:
        log.warning("the checkpoint is ahead of the stored events: the run starts over.")
        return None
    reporter.goes_on_from(events, state.seconds)
    return state


def _state_before(store: RunStore, run: RunRecord, checkpoints: Path) -> TrainingState:
    """The last state of the run that `run` lengthens, as one of `run`.

    Raises:
        Unavailable: if it is not there or damaged, or if its numbers would be others today.
    """
    assert run.begins_from is not None, "it lengthens another"
    shorter = store.run(run.begins_from)
    found = None
    if shorter is not None:
        check_unchanged(store, shorter)
        path = final_path(checkpoints, shorter.id)
        found = read_state(path, shorter.spec, default_device())
    if found is None:
        raise Unavailable(
            f"the checkpoint of run {run.begins_from} was removed: the longer run starts over."
        )
    log.info("it begins from the last state of run %s", run.begins_from)
    return replace(found, spec=run.spec)


class _StopCheck:
    """Whether a run should stop: it was cancelled, or it has exceeded the time limit.

    Attributes:
        too_late: the error in one sentence, once it has exceeded the time limit.
    """

    def __init__(self, store: RunStore, run_id: str, reporter: Reporter) -> None:
        self._store, self._run_id, self._reporter = store, run_id, reporter
        self._most_seconds = read_settings().limits.run_seconds
        self.too_late: str | None = None

    def requested(self) -> bool:
        if self._reporter.seconds > self._most_seconds:
            limit = format_seconds(self._most_seconds)
            self.too_late = (
                f"a run may take at most {limit} here, and this one was not done: choose fewer "
                "steps or smaller images, or raise ASI_MAX_RUN_SECONDS."
            )
            return True
        try:
            return self._store.cancel_requested(self._run_id)
        except STORE_ERRORS as error:
            # Then no cancel request can be stored either.
            log.warning("the store did not answer (%s)", one_sentence(error))
            return False
