"""Waiting for a store that does not answer, such as a database that is being started anew."""

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
    """The store did not answer for as long as anybody waits for it.

    Nothing is wrong with what was to be written: whoever has it leaves it as it is, for another
    attempt.
    """


def retry(what: Callable[[], Result], seconds: float = _PATIENCE_SECONDS) -> Result:
    """What `what` returns, asked again and again while the store does not answer.

    Raises:
        StoreTimeout: if it has not answered for so long.
        SQLAlchemyError: at once, if asking again is of no use.
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
            log.warning("the store did not answer (%s): asking again", error)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
