"""The message shown when a page cannot be drawn: one sentence, never a traceback."""

from __future__ import annotations

import logging

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.store.database import STORE_ERRORS
from dashboard.plain import plain

log = logging.getLogger(__name__)


def tell_failure(error: Exception) -> bool:
    """Log an error and show one sentence in place of the rest of the page; return True, so that
    Streamlit shows nothing itself."""
    log.error("a page could not be drawn", exc_info=error)
    st.error(plain(failure_sentence(error)))
    return True


def failure_sentence(error: Exception) -> str:
    """The error and its remedy."""
    if isinstance(error, AsiError):
        return one_sentence(error)
    kind = type(error).__name__
    if isinstance(error, STORE_ERRORS):
        return (
            f"The store of runs does not respond ({kind}): check its folder or database "
            "(ASI_HOME, ASI_DATABASE_URL) and the free disk space, then reload this page. "
            "Active runs keep what they have measured."
        )
    return (
        f"This page could not be drawn ({kind}): reload it. If that does not help, see the "
        "server's log."
    )
