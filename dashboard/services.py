"""The store and the engine of this server process."""

from __future__ import annotations

import streamlit as st

from asi_core.runs.engine.engine import RunEngine, shared_engine
from asi_core.runs.exchange.example_jobs import import_example_jobs
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, import_examples
from asi_core.runs.store.guesses import GuessStore
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from dashboard.feed import Feeds


# Streamlit discards a cached resource when the function's body changes: the engine itself is a
# singleton in another module, so that no second cluster is ever started.
@st.cache_resource(show_spinner="Starting the worker …")
def engine() -> RunEngine:
    return shared_engine()


def warm_up() -> None:
    """Start the worker before the first run is launched, unless the server is read-only."""
    if not read_settings().read_only:
        engine()


@st.cache_resource(show_spinner=False)
def store() -> RunStore:
    opened = RunStore(read_settings().database_url)
    import_examples(opened, SHIPPED_FOLDER)
    return opened


@st.cache_resource(show_spinner=False)
def feeds() -> Feeds:
    return Feeds(store())


@st.cache_resource(show_spinner=False)
def guesses() -> GuessStore:
    return GuessStore(read_settings().database_url)


@st.cache_resource(show_spinner=False)
def jobs() -> JobStore:
    opened = JobStore(read_settings().database_url)
    import_example_jobs(opened, SHIPPED_FOLDER / "jobs")
    return opened
