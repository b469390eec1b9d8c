"""What a run logs, in whichever thread it is computed, as lines that are kept with the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asi_core.runs.records import LogLine

# Ours, and what PyTorch and NumPy warn of.
_SOURCES = ("asi_core", "py.warnings")
_LONGEST = 1000

_listening: ContextVar[logging.Handler | None] = ContextVar("listening", default=None)


@contextmanager
def lines_of_this_context(take: Callable[[LogLine], None]) -> Iterator[None]:
    """Hand every line that is logged in this context to `take`, tracebacks left out."""
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
