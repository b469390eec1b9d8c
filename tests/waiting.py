"""Waiting for conditions instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# How much slower than a quiet machine one may be, with many tests beside each other.
_SLOWER = 4


def wait_for(condition: Callable[[], Result], seconds: float, what: str) -> Result:
    """The first true result of `condition`; on timeout, an assertion error that names `what`.

    Args:
        seconds: the longest that it takes on a quiet machine.
    """
    seconds *= _SLOWER
    pause, end = threading.Event(), time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        pause.wait(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
