"""Turns: several runs in one process, one step at a time, in the order in which they asked.

Runs of a comparison then grow side by side, and each step is timed alone on all cores. It is also
what keeps them right: while torch.fx traces a model, it replaces `nn.Module.__call__` for the whole
process, so no other thread may call a module meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Turnstile:
    """A lock that is passed on first come, first served."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many have asked and wait."""
        return len(self._waiting)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn and hold it."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._guard:
            if not self._busy:
                self._busy = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _leave(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._busy = False


def in_turns(items: Iterator[Item], turnstile: Turnstile) -> Iterator[Item]:
    """`items`, each computed in a turn of its own."""
    while True:
        with turnstile.turn():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
