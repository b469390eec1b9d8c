"""Lengthening a run of the store in this process."""

from __future__ import annotations

import time

from asi_core.errors import AsiError, InvalidInput
from asi_core.runs.engine.foreground import Stop, give_up, work_through
from asi_core.runs.records import NOBODY, RunRecord
from asi_core.runs.store.database import STORE_ERRORS, silence_of
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.lengthening import request_longer
from asi_core.settings import read_settings

# As runs of the command line: whoever may use the store may name and delete them.
_OWNER = NOBODY[1]


def lengthen(run_id: str, steps: int) -> RunRecord:
    """Train a completed run of the store on, in this process, and wait for its end.

    The longer run is a new one with the whole curve, and the numbers of a run that was as long from
    the start; the old one stays. Ctrl+C cancels it.

    Args:
        run_id: of a run that was trained here: on a page, by a command, or by another call.
        steps: of the longer run, in all.

    Raises:
        InvalidInput, Unsupported, Unavailable, Refused: as `submit.lengthening.request_longer`.
        AsiError: if the longer run fails or is cancelled.

    Example:
        >>> from asi_core import runs
        >>> longer = runs.lengthen("3f9a0c1b7d2e", steps=300)
        >>> longer.summary["test_accuracy"]
    """
    try:
        store = RunStore(read_settings().database_url)
        run = store.run(run_id)
    except STORE_ERRORS as error:
        raise silence_of(error) from error
    if run is None:
        raise InvalidInput("the run must be in the store", repr(run_id), "choose another")
    stop = Stop(since=time.time())
    longer = request_longer(store, [run], steps, _OWNER)
    try:
        work_through(store.url, longer, lambda number, ended: None, stop=stop)
    except BaseException:
        give_up(store, longer, stop)
        raise
    ended = store.run(longer[0].id)
    store.close()
    assert ended is not None, "active runs are not deleted"
    if ended.status != "completed":
        raise AsiError(ended.error or f"run {ended.id} was {ended.status}: its steps are kept.")
    return ended
