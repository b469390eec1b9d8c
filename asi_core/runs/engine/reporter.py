"""From a run that goes on to the store and the disk: events, lines of the log, checkpoints."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from asi_core.errors import one_sentence
from asi_core.runs.engine.heartbeat import Heartbeat
from asi_core.runs.records import LogLine
from asi_core.runs.store.retry import retry
from asi_core.runs.store.run_store import RunStore
from asi_core.training.checkpoint import TrainingState, write_state
from asi_core.training.events import Event
from asi_core.training.summary import summarise

log = logging.getLogger(__name__)

_FLUSH_EVENTS = 50
_FIRST_EVENTS = 2  # what is prepared, and the first step
_MOST_LINES = 2000

Ended = Literal["completed", "cancelled", "failed"]
_Kept = tuple[TrainingState, int]


class Reporter:
    """Hands a run's events to the store, at most half a second or 50 events late, and beats.

    Args:
        checkpoint: the file that is written anew.
        turns: tells how much this process has computed by now.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        token: str,
        checkpoint: Path,
        turns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store, self._run_id, self._token = store, run_id, token
        self._checkpoint, self._turns = checkpoint, turns
        self._begun, self._before = time.perf_counter(), 0.0
        self._all: list[Event] = []
        self._written = 0
        self._lines: list[LogLine] = []
        self._lines_written = 0
        self._state: _Kept | None = None
        self._gains_beyond = 0
        # Disks may be slower than heartbeats: checkpoints are written beside, one at a time.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"checkpoint-{run_id}")
        self._checkpoint_written: Future[None] | None = None
        # Held for moments: nobody who computes waits for a store that is slow to answer.
        self._lock = threading.Lock()
        # Held for as long as something is written.
        self._writing = threading.Lock()
        self._heartbeat = Heartbeat(f"run {run_id}", self._flush)

    def __enter__(self) -> Self:
        self._heartbeat.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._heartbeat.__exit__(kind, error, trace)
        self._writer.shutdown()

    @property
    def seconds(self) -> float:
        """What the run has taken up to now, over all attempts."""
        return self._before + time.perf_counter() - self._begun

    def goes_on_from(self, earlier: Sequence[Event], seconds: float) -> None:
        """Say which events of earlier attempts, which are in the store, this one continues.

        Args:
            seconds: what those took.
        """
        with self._lock:
            self._all, self._written, self._before = list(earlier), len(earlier), seconds

    def gains_beyond(self, step: int) -> None:
        """Say how far earlier attempts have come: only checkpoints beyond are any gain."""
        self._gains_beyond = step

    def add(self, item: Event) -> None:
        """Take an event.

        Raises:
            AttemptLost: if the attempt was lost by now.
            StoreTimeout: if the store does not take any for long.
        """
        self._heartbeat.check()
        with self._lock:
            self._all.append(item)
            # The first point is what somebody waits for.
            first = self._written < _FIRST_EVENTS <= len(self._all)
            due = first or len(self._all) - self._written >= _FLUSH_EVENTS
        if due:
            retry(self._flush)

    def keep(self, state: TrainingState) -> None:
        """Write a checkpoint, after the next events: never before those that led to it.

        The latest is written, where disks are slower than checkpoints follow each other.
        """
        with self._lock:
            self._state = replace(state, seconds=self.seconds), len(self._all)

    def add_line(self, line: LogLine) -> None:
        """Keep a line of the log, up to `_MOST_LINES`."""
        with self._lock:
            if len(self._lines) < _MOST_LINES:
                self._lines.append(line)
            elif len(self._lines) == _MOST_LINES:
                self._lines.append(replace(line, text="more lines are in the server's log alone"))

    def reached(self, step: int) -> bool:
        """Whether training has come to `step`."""
        with self._lock:
            return any(item.kind == "step" and item.step >= step for item in self._all)

    def end(self, status: Ended, error: str | None) -> None:
        """End the attempt, with the summary of everything that was measured.

        Raises:
            AttemptLost: if it was lost by now.
            StoreTimeout: if the store does not take it for long.
        """
        with self._lock:
            # What has ended is not taken up again.
            self._state = None
        with self._writing:
            # The heart's thread has handed over by now what it was about to.
            pass
        self._writer.shutdown()
        retry(self._flush)
        retry(lambda: self._finish(status, error))
        shutil.rmtree(self._checkpoint.parent, ignore_errors=True)

    def _finish(self, status: Ended, error: str | None) -> None:
        summary: dict[str, Any] = summarise(self._all)
        if status != "failed":
            summary["seconds"]["total"] = self.seconds
        self._store.finish(self._run_id, self._token, status, summary, error)

    def _flush(self) -> None:
        with self._writing:
            with self._lock:
                first, lines_first = self._written, self._lines_written
                new, lines = self._all[first:], self._lines[lines_first:]
            numbered = dict(enumerate(lines, lines_first))
            self._store.append(self._run_id, self._token, new, numbered, turns=self._turns())
            with self._lock:
                self._written += len(new)
                self._lines_written += len(lines)
                idle = self._checkpoint_written is None or self._checkpoint_written.done()
                due = idle and self._state is not None and self._state[1] <= self._written
                kept, self._state = (self._state, None) if due else (None, self._state)
            if kept is not None:
                self._checkpoint_written = self._writer.submit(self._write, kept[0])

    def _write(self, state: TrainingState) -> None:
        try:
            write_state(state, self._checkpoint)
        except Exception as error:
            message = (
                f"no checkpoint of step {state.step} ({one_sentence(error)}): an interruption "
                "would cost the steps since the one before"
            )
            log.warning("run %s: %s", self._run_id, message)
            # What this thread logs is not heard by the run's own listener.
            self.add_line(LogLine(time.time(), "warning", message))
            return
        if state.step > self._gains_beyond:
            try:
                retry(self._tell_gain)
            except Exception as error:
                log.warning("run %s has come further, untold: %s", self._run_id, error)

    def _tell_gain(self) -> None:
        self._store.append(self._run_id, self._token, [], turns=self._turns(), gained=True)
