"""The library of this server process."""

from __future__ import annotations

import streamlit as st

from asi_core.runs.store.library import RunLibrary
from dashboard import services


@st.cache_resource(show_spinner=False)
def library() -> RunLibrary:
    """All stored runs; opened after the store, which imports the shipped examples."""
    return RunLibrary(services.store().url)
