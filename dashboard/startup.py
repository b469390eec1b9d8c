"""What the server does before it answers, so that its first visitor does not wait for it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from asi_core.errors import Unavailable, one_sentence
from asi_core.runs.database import NoAnswer, reason_of
from dashboard import services
from dashboard.navigation import PAGES
from dashboard.plotly_js import compressed

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
    try:
        store = services.store()
        services.jobs()
        if store.active():
            # What an earlier server left must go on, whether or not somebody comes to look.
            services.engine()
    except NoAnswer as error:
        # The server runs all the same: every page then tells its visitors.
        log.error("the store cannot be opened: %s", reason_of(error))
    except Unavailable as error:
        # The page that launches runs tells of it, and tries again.
        log.error("%s", one_sentence(error))
    compressed()
    _settle()


def _settle() -> None:
    """Put what has been imported beyond the garbage collector's reach.

    Streamlit collects garbage after every run of a page or fragment. Walking through all modules'
    objects took a quarter of a core while a page polled.
    """
    gc.collect()
    gc.freeze()
