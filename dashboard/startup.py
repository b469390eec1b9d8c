"""Work that the server does before it answers, so that the first visitor does not wait."""

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
    """The server's lifespan: it answers once everything has been prepared."""
    await asyncio.to_thread(prepare)
    yield


def prepare() -> None:
    """Import the pages, and open the store with the shipped runs."""
    for page in PAGES:
        import_module(f"pages.{page.file}")
    if not _resume():
        # The server runs anyway: every page then reports the error.
        threading.Thread(target=_resume_later, name="startup", daemon=True).start()
    compressed()
    _settle()


def _resume() -> bool:
    """Resume runs that an earlier server left; return whether the store could be opened."""
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


def _resume_later() -> None:
    pause = threading.Event()
    while not _resume():
        pause.wait(_RETRY_SECONDS)


def _settle() -> None:
    """Exclude all imported objects from garbage collection.

    Streamlit collects garbage after every script or fragment run. Walking through the objects of
    all modules took a quarter of a core while a page polled.
    """
    gc.collect()
    gc.freeze()
