"""The button to the Train page, which shares the setup."""

from __future__ import annotations

import streamlit as st

from dashboard.navigation import switch_to


def train_button() -> None:
    """A button that opens the Train page, without launching anything."""
    if st.button(
        "Train this",
        type="primary",
        icon=":material/model_training:",
        help="Opens the Train page with these settings, to measure accuracy.",
    ):
        switch_to("train", {})
