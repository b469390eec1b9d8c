"""What the server does before it answers, so that its first visitor does not wait for it."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from asi_core.errors import Unavailable, one_sentence
from asi_core.runs.store.database import STORE_ERRORS, reason_of
from dashboard import services
from dashboard.navigation import PAGES
from dashboard.plotly_js import compressed

_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def prepared(app: Any) -> AsyncIterator[None]:
    """The time in which the server runs: it begins when everything has been prepared."""
    await asyncio.to_thread(prepare)
    yield


def prepare() -> None:
    """Import what pages need, and open the store with the runs that came with the app."""
    for page in PAGES:
        import_module(f"pages.{page.file}")
    if not _go_on():
        # The server runs all the same: every page then tells its visitors.
        threading.Thread(target=_go_on_later, name="startup", daemon=True).start()
    compressed()
    _settle()


def _go_on() -> bool:
    """Go on with what an earlier server left, whether or not somebody comes to look.

    Returns:
        whether that could be known.
    """
    try:
        store = services.store()
        services.jobs()
        if store.active():
            services.engine()
    except STORE_ERRORS as error:
        log.error("the store cannot be opened: %s", reason_of(error))
        return False
    except Unavailable as error:
        log.error("%s", one_sentence(error))
        return False
    return True


def _go_on_later() -> None:
    pause = threading.Event()
    while not _go_on():
        pause.wait(_RETRY_SECONDS)


def _settle() -> None:
    """Put what has been imported beyond the garbage collector's reach.

    Streamlit collects garbage after every run of a page or fragment. Walking through all modules'
    objects took a quarter of a core while a page polled.
    """
    gc.collect()
    gc.freeze()
