"""Retrying while the store does not answer, for example while a database server restarts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from asi_core.runs.store.database import TRANSIENT_ERRORS, reason_of

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_PATIENCE_SECONDS = 15 * 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class StoreTimeout(Exception):
    """The store did not answer within the time limit.

    The data to be written is valid, so the run or job is left for another attempt.
    """


def retry(what: Callable[[], Result], seconds: float = _PATIENCE_SECONDS) -> Result:
    """Call `what` until the store answers, with increasing pauses; returns its result.

    Raises:
        StoreTimeout: if the store has not answered for `seconds`.
        SQLAlchemyError: at once, if the error is not transient.
    """
    pause, ends = _FIRST_PAUSE, time.monotonic() + seconds
    while True:
        try:
            return what()
        except TRANSIENT_ERRORS as error:
            if time.monotonic() + pause > ends:
                raise StoreTimeout(
                    f"the store has not answered for {seconds:.0f} s ({reason_of(error)})"
                ) from error
            log.warning("the store did not answer (%s): retrying", error)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
