"""Waiting for conditions instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def wait_for(condition: Callable[[], Result], seconds: float, what: str) -> Result:
    """The first true result of `condition`; on timeout, an assertion error that names `what`."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        pause.wait(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
