"""A thread that writes an attempt's heartbeat every half second, and detects its loss."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from asi_core.runs.store.database import STORE_ERRORS, AttemptLost

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.5


class Heartbeat:
    """Calls `beat` periodically in its own thread while the context is open.

    If the store does not answer, it is tried again at the next beat.

    Args:
        name: name of the run or job in the log.
        beat: writes the heartbeat; raises `AttemptLost` if the row belongs to another attempt.
    """

    def __init__(self, name: str, beat: Callable[[], None]) -> None:
        self._name, self._call = name, beat
        self._closing = threading.Event()
        self._lost: AttemptLost | None = None
        self._thread = threading.Thread(target=self._beat, name=f"beat-{name}", daemon=True)

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

    def check(self) -> None:
        """Raise `AttemptLost` if the attempt was lost, to stop useless computation."""
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            try:
                self._call()
            except AttemptLost as lost:
                self._lost = lost
                return
            except STORE_ERRORS as error:
                log.warning("%s: the store did not answer (%s)", self._name, error)
