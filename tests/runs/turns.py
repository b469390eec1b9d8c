"""Holding the computing thread, so that others have to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asi_core.runs.engine.serial_executor import SerialExecutor


@contextmanager
def held(executor: SerialExecutor) -> Iterator[None]:
    """While open, no other call gets a turn."""
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        done.wait()

    thread = threading.Thread(target=executor.run, args=(hold,))
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()
