"""The store and the engine of this server process, and who is asking."""

from __future__ import annotations

import gc

import streamlit as st

from asi_core.runs.engine import RunEngine, shared_engine
from asi_core.runs.store import RunStore
from asi_core.settings import read_settings


# Streamlit makes a new entry when the body of such a function changes: the engine itself is a
# singleton in a module of its own, so that no second cluster is ever started.
@st.cache_resource(show_spinner="Starting the worker …")
def engine() -> RunEngine:
    return shared_engine()


@st.cache_resource(show_spinner=False)
def store() -> RunStore:
    return RunStore(read_settings().database_url)


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Put what has been imported beyond the garbage collector's reach, once a server.

    Streamlit collects garbage after every run of a page or fragment. Walking through all modules'
    objects took a quarter of a core while a page polled.
    """
    gc.collect()
    gc.freeze()


def owner() -> str:
    """Whose runs these are."""
    return "local"
