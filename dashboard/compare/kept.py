"""The library of this server process, and what a visitor may change in it."""

from __future__ import annotations

import streamlit as st

from asi_core.runs.library import RunLibrary
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.settings import read_settings
from dashboard import services


@st.cache_resource(show_spinner=False)
def library() -> RunLibrary:
    """All kept runs; opened after the store, which brings the shipped examples."""
    return RunLibrary(services.store().url)


def changing_owner() -> str | None:
    """Whose runs this visitor may delete; None for everybody's, where nobody is told apart."""
    return None if read_settings().user_header is None else services.owner()


def is_ones_own(run: RunRecord) -> bool:
    """Whether this visitor may cancel or delete a run."""
    return run.owner != EXAMPLE_OWNER and changing_owner() in (None, run.owner)
