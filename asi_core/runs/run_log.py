"""What a run's own thread logs, as lines that are kept with the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asi_core.runs.records import LogLine

# Ours, and what PyTorch and NumPy warn of.
_SOURCES = ("asi_core", "py.warnings")
_LONGEST = 1000


@contextmanager
def lines_of_this_thread(take: Callable[[LogLine], None]) -> Iterator[None]:
    """Hand every line that this thread logs to `take`, tracebacks left out."""
    handler = _Handler(threading.get_ident(), take)
    logging.captureWarnings(True)
    logging.getLogger(_SOURCES[0]).setLevel(logging.INFO)
    for name in _SOURCES:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in _SOURCES:
            logging.getLogger(name).removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, thread: int, take: Callable[[LogLine], None]) -> None:
        super().__init__(logging.INFO)
        self._thread, self._take = thread, take

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            text = " ".join(record.getMessage().split())
            self._take(LogLine(record.created, record.levelname.lower(), text[:_LONGEST]))
