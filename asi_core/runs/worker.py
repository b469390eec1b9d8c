"""Executing one run: from the store, through the loop, back to the store."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import TracebackType
from typing import Self

import torch
from sqlalchemy.exc import SQLAlchemyError

from asi_core.errors import AsiError, one_sentence
from asi_core.methods import Vanilla
from asi_core.runs.database import AttemptLost
from asi_core.runs.records import LogLine
from asi_core.runs.run_log import lines_of_this_context
from asi_core.runs.store import RunStore
from asi_core.runs.turnstile import Turnstile, in_turns
from asi_core.training.events import Event
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.loop import fine_tune
from asi_core.training.spec import RunSpec
from asi_core.training.summary import summarise
from asi_core.units import format_seconds

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_FLUSH_EVENTS = 50
_FIRST_EVENTS = 2  # what is prepared, and the first step
_MOST_LINES = 2000


def _use_all_cores() -> None:
    # A Dask worker tells OpenMP to use one thread; here one thing is computed at a time.
    torch.set_num_threads(os.cpu_count() or 1)


@dataclass(frozen=True)
class Workshop:
    """What the runs of one process share."""

    turnstile: Turnstile = field(default_factory=lambda: Turnstile(_use_all_cores))
    features: FeaturePool = field(default_factory=installed_pool)


@lru_cache(maxsize=1)
def workshop() -> Workshop:
    """This process's workshop, made on first use."""
    return Workshop()


@lru_cache(maxsize=4)
def open_store(url: str) -> RunStore:
    """This process's store at `url`: one engine a process."""
    return RunStore(url)


def warm_up() -> None:
    """Go once through what a run does before its first step, so that no visitor waits for it."""
    spec, shop = RunSpec(method=Vanilla()), workshop()
    try:
        next(in_turns(fine_tune(spec, features=shop.features), shop.turnstile))
    except AsiError as error:
        log.warning("the worker is not warm: %s", one_sentence(error))


def execute(run_id: str, url: str) -> None:
    """Run what is queued under `run_id`; do nothing if another attempt has it.

    Whatever happens is in the store afterwards: everything measured, the state, and the reason.
    """
    store = open_store(url)
    token = store.claim(run_id)
    if token is None:
        return
    try:
        with (
            _Reporter(store, run_id, token) as reporter,
            lines_of_this_context(reporter.add_line),
        ):
            _train(store, run_id, reporter)
    except AttemptLost:
        log.warning("run %s was taken over by another attempt", run_id)


def _train(store: RunStore, run_id: str, reporter: _Reporter) -> None:
    record = store.run(run_id)
    assert record is not None
    shop, started = workshop(), time.perf_counter()
    log.info(
        "attempt %d by process %d on %s, %d threads",
        record.attempt,
        os.getpid(),
        platform.node(),
        shop.turnstile.run(torch.get_num_threads),
    )
    try:
        stream = fine_tune(
            record.spec,
            should_stop=lambda: store.cancel_requested(run_id),
            features=shop.features,
        )
        for item in in_turns(stream, shop.turnstile):
            reporter.add(item)
    except AttemptLost:
        raise
    except AsiError as error:
        log.error("failed: %s", one_sentence(error))
        reporter.fail(one_sentence(error))
    except Exception as error:
        # The boundary of the worker: nothing that a run does may take other runs with it.
        log.exception("run %s failed", run_id)
        reporter.fail(f"{type(error).__name__}: {one_sentence(error)}")
    else:
        log.info("all done after %s", format_seconds(time.perf_counter() - started))
        stopped = store.cancel_requested(run_id) and not reporter.reached(record.spec.steps)
        reporter.end("cancelled" if stopped else "completed", time.perf_counter() - started)


class _Reporter:
    """Hands a run's events to the store, at most half a second or 50 events late, and beats."""

    def __init__(self, store: RunStore, run_id: str, token: str) -> None:
        self._store, self._run_id, self._token = store, run_id, token
        self._all: list[Event] = []
        self._written = 0
        self._lines: list[LogLine] = []
        self._lines_written = 0
        # Also taken by a line that is logged while the store is written to.
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._lost: AttemptLost | None = None
        self._thread = threading.Thread(target=self._beat, name=f"report-{run_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

    def add(self, item: Event) -> None:
        if self._lost is not None:
            raise self._lost
        with self._lock:
            self._all.append(item)
            # The first point is what somebody waits for.
            first = self._written < _FIRST_EVENTS <= len(self._all)
            due = first or len(self._all) - self._written >= _FLUSH_EVENTS
        if due:
            self._flush()

    def add_line(self, line: LogLine) -> None:
        """Keep a line of the log, up to `_MOST_LINES`."""
        with self._lock:
            if len(self._lines) < _MOST_LINES:
                self._lines.append(line)
            elif len(self._lines) == _MOST_LINES:
                self._lines.append(replace(line, text="more lines are in the server's log alone"))

    def reached(self, step: int) -> bool:
        """Whether training has come to `step`."""
        return any(item.kind == "step" and item.step >= step for item in self._all)

    def end(self, status: str, seconds: float) -> None:
        assert status in ("completed", "cancelled")
        self._flush()
        summary = summarise(self._all)
        summary["seconds"]["total"] = seconds
        self._store.finish(
            self._run_id,
            self._token,
            "completed" if status == "completed" else "cancelled",
            summary,
        )

    def fail(self, error: str) -> None:
        self._flush()
        self._store.finish(self._run_id, self._token, "failed", summarise(self._all), error)

    def _beat(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            try:
                self._flush()
            except AttemptLost as lost:
                self._lost = lost
                return
            except SQLAlchemyError as error:
                # Nothing is dropped: what was not written is tried again at the next beat.
                log.warning("run %s: the store did not answer (%s)", self._run_id, error)

    def _flush(self) -> None:
        with self._lock:
            new = self._all[self._written :]
            lines = dict(enumerate(self._lines[self._lines_written :], self._lines_written))
            self._store.append(self._run_id, self._token, new, lines)
            self._written += len(new)
            self._lines_written += len(lines)
