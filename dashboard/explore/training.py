"""The button to the Train page, which shares the setup."""

from __future__ import annotations

import streamlit as st

from asi_core.zoo.cards import ModelCard
from dashboard.navigation import switch_to

_HELP = "Opens the Train page with these settings, to measure accuracy."
# What there is instead for a language model.
OWN_LOOP = (
    "Language models are estimated here, not trained or measured: call `asi_core.prepare_` in your "
    "own loop, as in `examples/huggingface_trainer.py`."
)


def train_button(card: ModelCard) -> None:
    """A button that opens the Train page, without launching anything."""
    reads_images = card.reads == "images"
    if st.button(
        "Train this",
        type="primary",
        icon=":material/model_training:",
        disabled=not reads_images,
        help=_HELP if reads_images else OWN_LOOP,
    ):
        switch_to("train", {})
