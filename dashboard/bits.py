"""The control for the bits in which ASI keeps a number, the same on all pages that have it."""

from __future__ import annotations

import streamlit as st

from dashboard.frame import URL

_TITLES = {32: "32", 16: "16 (factors)", 8: "8"}


def bits_control(label: str) -> int:
    """Draw it; what was chosen is in the URL."""
    chosen: int = st.selectbox(
        label,
        list(_TITLES),
        format_func=lambda bits: _TITLES[bits],
        key="bits",
        help="32 is single precision, as published. 16 keeps the factors in half precision: they "
        "are orthonormal, and at small ranks most of what is kept. 8 keeps factors and core as "
        "whole multiples of a step: four times the ranks fit into the same memory.",
        **URL,
    )
    return chosen
