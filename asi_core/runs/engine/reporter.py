"""Writes an active run's events and log lines to the store, and its checkpoints to disk."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from asi_core.errors import one_sentence
from asi_core.runs.engine.heartbeat import Heartbeat
from asi_core.runs.engine.listeners import Listeners
from asi_core.runs.records import LogLine
from asi_core.runs.store.checkpoint_files import final_path, trim
from asi_core.runs.store.retry import retry
from asi_core.runs.store.run_store import RunStore
from asi_core.training.checkpoint import TrainingState, write_state
from asi_core.training.events import Event
from asi_core.training.summary import summarise

log = logging.getLogger(__name__)

_FLUSH_EVENTS = 50
_FIRST_EVENTS = 2  # "prepared" and the first step
_MOST_LINES = 2000

Ended = Literal["completed", "cancelled", "failed"]
_Kept = tuple[TrainingState, int]


class Reporter:
    """Writes a run's events, at most half a second or 50 events late, and its heartbeat.

    Args:
        checkpoint: the file that is overwritten by each checkpoint.
        turns: returns this process's count of turns (`SerialExecutor.turns`).
        final_bytes: how much the final states of all runs may take on disk; 0 keeps none.
        listeners: of this attempt.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        token: str,
        checkpoint: Path,
        turns: Callable[[], int] = lambda: 0,
        final_bytes: int = 0,
        listeners: Listeners | None = None,
    ) -> None:
        self._store, self._run_id, self._token = store, run_id, token
        self._checkpoint, self._turns = checkpoint, turns
        self._final_bytes, self._listeners = final_bytes, listeners
        self._final: TrainingState | None = None
        self._begun, self._before = time.perf_counter(), 0.0
        self._all: list[Event] = []
        self._written = 0
        self._lines: list[LogLine] = []
        self._lines_written = 0
        self._state: _Kept | None = None
        self._gains_beyond = 0
        # In a thread, one at a time, as a slow disk must not delay heartbeats.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"checkpoint-{run_id}")
        self._checkpoint_written: Future[None] | None = None
        # Held briefly only, so that computing threads do not wait for a slow store.
        self._lock = threading.Lock()
        # Held while writing to the store.
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
        if self._listeners is not None:
            self._listeners.end("interrupted")
        self._writer.shutdown()

    @property
    def seconds(self) -> float:
        """Duration of the run so far, over all attempts."""
        return self._before + time.perf_counter() - self._begun

    def goes_on_from(self, earlier: Sequence[Event], seconds: float) -> None:
        """Set the events of earlier attempts that this one continues; they are in the store.

        Args:
            seconds: duration of the earlier attempts.
        """
        with self._lock:
            self._all, self._written, self._before = list(earlier), len(earlier), seconds
        self._tell(earlier)

    def gains_beyond(self, step: int) -> None:
        """Set the last step of earlier attempts: only checkpoints beyond it count as progress."""
        self._gains_beyond = step

    def add(self, item: Event) -> None:
        """Add an event.

        Raises:
            AttemptLost: if the attempt was lost.
            StoreTimeout: if the store does not answer for long.
        """
        self._heartbeat.check()
        with self._lock:
            self._all.append(item)
            # Written at once, as the user waits for the first point.
            first = self._written < _FIRST_EVENTS <= len(self._all)
            due = first or len(self._all) - self._written >= _FLUSH_EVENTS
        if due:
            retry(self._flush)
        self._tell([item])

    def keep(self, state: TrainingState) -> None:
        """Schedule a checkpoint. It is written after all events up to it are in the store.

        If the disk is slower than checkpoints arrive, only the latest is written. That of the last
        step is the final state, which is written when the run ends.
        """
        state = replace(state, seconds=self.seconds)
        with self._lock:
            if state.step == state.spec.steps:
                self._final = state
            else:
                self._state = state, len(self._all)

    def add_line(self, line: LogLine) -> None:
        """Add a log line, up to `_MOST_LINES`."""
        with self._lock:
            if len(self._lines) < _MOST_LINES:
                self._lines.append(line)
            elif len(self._lines) == _MOST_LINES:
                self._lines.append(replace(line, text="further lines are in the server's log only"))

    def reached(self, step: int) -> bool:
        """Whether training has reached `step`."""
        with self._lock:
            return any(item.kind == "step" and item.step >= step for item in self._all)

    def end(self, status: Ended, error: str | None) -> None:
        """End the attempt, with the summary of everything that was measured.

        Raises:
            AttemptLost: if the attempt was lost.
            StoreTimeout: if the store does not answer for long.
        """
        with self._lock:
            # An ended run needs no checkpoint.
            self._state = None
        with self._writing:
            # Wait for the heartbeat's thread to finish writing.
            pass
        self._writer.shutdown()
        retry(self._flush)
        is_kept = status == "completed" and self._keep_final()
        summary = self._summary(status)
        retry(lambda: self._store.finish(self._run_id, self._token, status, summary, error))
        if is_kept:
            with suppress(OSError):
                self._checkpoint.unlink(missing_ok=True)
            trim(self._checkpoint.parent.parent, self._final_bytes)
        else:
            shutil.rmtree(self._checkpoint.parent, ignore_errors=True)
        if self._listeners is not None:
            self._listeners.end(status, summary)

    def _keep_final(self) -> bool:
        """Write the state from which the run can be lengthened; returns whether it is there."""
        if self._final is None or not self._final_bytes:
            return False
        folder = self._checkpoint.parent.parent
        try:
            write_state(self._final, final_path(folder, self._run_id))
        except OSError as error:
            reason = one_sentence(error).rstrip(".")
            message = f"the last state was not kept ({reason}): the run cannot be lengthened"
            log.warning("run %s: %s", self._run_id, message)
            self.add_line(LogLine(time.time(), "warning", message))
            retry(self._flush)
            return False
        return True

    def _tell(self, events: Sequence[Event]) -> None:
        if self._listeners is not None:
            self._listeners.tell(events)

    def _summary(self, status: Ended) -> dict[str, Any]:
        summary: dict[str, Any] = summarise(self._all)
        if status != "failed":
            summary["seconds"]["total"] = self.seconds
        return summary

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
                "would lose the steps since the previous one"
            )
            log.warning("run %s: %s", self._run_id, message)
            # The run's log handler does not receive what this thread logs.
            self.add_line(LogLine(time.time(), "warning", message))
            return
        if state.step > self._gains_beyond:
            try:
                retry(self._report_gain)
            except Exception as error:
                log.warning("run %s: progress could not be stored: %s", self._run_id, error)

    def _report_gain(self) -> None:
        self._store.append(self._run_id, self._token, [], turns=self._turns(), gained=True)
