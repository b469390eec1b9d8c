"""Detects attempts that are lost or stuck, by changes in the store and a monotonic clock.

The clocks of workers and of this machine may be wrong, or be set while runs are active. So no
times of day are compared: an attempt is lost if its heartbeat has not *changed* for some time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from asi_core.runs.engine.heartbeat import BEAT_SECONDS
from asi_core.runs.store.attempts import Attempts, Running

# Within this time every live attempt writes a heartbeat, if the store can be written.
_BEATS_SECONDS = 4 * BEAT_SECONDS


@dataclass(slots=True)
class _Seen:
    value: Hashable
    since: float


class _Unchanged:
    """How long values have been unchanged."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def seconds(self, key: str, value: Hashable) -> float:
        now = self._clock()
        seen = self._seen.get(key)
        if seen is None or seen.value != value:
            self._seen[key] = _Seen(value, now)
            return 0.0
        return now - seen.since

    def keep_only(self, keys: set[str]) -> None:
        for key in self._seen.keys() - keys:
            del self._seen[key]


class Watch:
    """Checks running attempts repeatedly.

    Args:
        silent_seconds: seconds without a heartbeat after which an attempt is lost.
        stuck_seconds: seconds without progress after which an attempt that should stop is stuck.
        patience: factor on both times for an attempt.
    """

    def __init__(
        self,
        silent_seconds: float,
        stuck_seconds: float,
        patience: Callable[[Running], float] = lambda attempt: 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silent_seconds, self._stuck_seconds = silent_seconds, stuck_seconds
        self._patience, self._clock = patience, clock
        self.forget()

    def forget(self) -> None:
        """Start over, as no heartbeat could be written while the store did not answer."""
        self._beats = _Unchanged(self._clock)
        self._turns = _Unchanged(self._clock)

    def check(self, running: Sequence[Running]) -> tuple[list[Running], list[Running]]:
        """Check all attempts that are running now.

        Returns:
            the lost attempts, and the stuck ones: they should stop, but their process computes
            nothing.
        """
        tokens = {attempt.token for attempt in running}
        self._beats.keep_only(tokens)
        self._turns.keep_only(tokens)
        lost = [attempt for attempt in running if self._is_lost(attempt)]
        # Of all attempts, so that the time counts from the cancel request on.
        waits = {attempt.token: self._standing(attempt) for attempt in running}
        stuck = [
            attempt
            for attempt in running
            if attempt not in lost
            and attempt.cancel_requested
            and self._is_over(waits[attempt.token], self._stuck_seconds, attempt)
        ]
        return lost, stuck

    def _is_lost(self, attempt: Running) -> bool:
        if attempt.is_gone:
            return True
        silent = self._beats.seconds(attempt.token, attempt.heartbeat_at)
        return self._is_over(silent, self._silent_seconds, attempt)

    def _is_over(self, seconds: float, most: float, attempt: Running) -> bool:
        return seconds > most and seconds > most * self._patience(attempt)

    def _standing(self, attempt: Running) -> float:
        """Seconds since the process computed anything, or since the cancel request."""
        return self._turns.seconds(attempt.token, (attempt.turns, attempt.cancel_requested))


def surely_lost(
    attempts: Attempts, lost: list[Running], pause: Callable[[float], bool | None]
) -> list[Running]:
    """Lost attempts whose process has ended, or without a heartbeat though the store is writable.

    Args:
        pause: waits for a number of seconds; returns true if it was interrupted, so that a missing
            heartbeat means nothing.

    Raises:
        SQLAlchemyError: if the store cannot be written, so that no heartbeat can be.
    """
    silent = [attempt for attempt in lost if not attempt.is_gone]
    if not silent:
        return lost
    # The store may have been locked, and this may be the first write after it.
    attempts.touch(silent[0].id)
    if pause(_BEATS_SECONDS):
        return [attempt for attempt in lost if attempt.is_gone]
    beats = {a.token: a.heartbeat_at for a in attempts.running()}
    return [a for a in lost if a.is_gone or beats.get(a.token) == a.heartbeat_at]
