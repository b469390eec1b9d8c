"""Captures a run's log, in whichever thread it is computed, to store it with the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asi_core.runs.records import LogLine

# Our own log, and warnings of PyTorch and NumPy.
_SOURCES = ("asi_core", "py.warnings")
_LONGEST = 1000

_listening: ContextVar[logging.Handler | None] = ContextVar("listening", default=None)


@contextmanager
def lines_of_this_context(take: Callable[[LogLine], None]) -> Iterator[None]:
    """Pass every line that is logged in this context to `take`, without tracebacks."""
    handler = _Handler(take)
    token = _listening.set(handler)
    logging.captureWarnings(True)
    logging.getLogger(_SOURCES[0]).setLevel(logging.INFO)
    for name in _SOURCES:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        _listening.reset(token)
        for name in _SOURCES:
            logging.getLogger(name).removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, take: Callable[[LogLine], None]) -> None:
        super().__init__(logging.INFO)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        if _listening.get() is self:
            text = " ".join(record.getMessage().split())
            self._take(LogLine(record.created, record.levelname.lower(), text[:_LONGEST]))
