"""Spectra: why the inputs of layers can be compressed."""

from __future__ import annotations

import streamlit as st

from dashboard.frame import question
from dashboard.links import checked
from dashboard.spectra.choice import choose_comparison
from dashboard.spectra.view import show


@checked
def main() -> None:
    """Draw the page."""
    question("Why do activations compress?")
    if comparison := choose_comparison():
        show(comparison)
    else:
        st.info(
            "Nothing has been trained here yet, and the app came without examples: start a "
            "comparison on the Train page."
        )


if __name__ == "__main__":
    main()
