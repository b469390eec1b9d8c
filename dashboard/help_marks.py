"""Help marks for the keyboard: one tab stop for all marks of a group."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.types import ComponentRenderer

from dashboard.components import REGISTERING, component_name, serve_assets

_NAME = "help_marks"


def help_marks() -> None:
    """Group the page's help marks; the arrow keys lead from one to the next. Shows nothing."""
    with REGISTERING:
        draw = _registered(get_bidi_component_manager())
    draw(key="help-marks")


@lru_cache(maxsize=1)
def _registered(manager: BidiComponentManager) -> ComponentRenderer:
    if manager.get_component_asset_root(component_name(_NAME)) is None:
        serve_assets(manager, _NAME, Path(__file__).parent, "help_marks_assets")
    return st.components.v2.component(component_name(_NAME), js="help_marks.js")
