"""From what is explored to the Train page, which has the same setup."""

from __future__ import annotations

import streamlit as st

from dashboard.navigation import switch_to


def train_button() -> None:
    """A button that leads to the Train page; nothing is launched there before another click."""
    if st.button(
        "Train this",
        type="primary",
        icon=":material/model_training:",
        help="Opens the Train page with these settings, to see what they cost in accuracy.",
    ):
        switch_to("train", {})
