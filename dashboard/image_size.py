"""The box for the side of images, on pages on which a model is chosen."""

from __future__ import annotations

import streamlit as st

from asi_core.training.spec import RUN_DEFAULTS
from asi_core.zoo.cards import ModelCard
from dashboard.frame import URL


def image_size_box(card: ModelCard, key: str = "image_size") -> int:
    """Pixels; of a model that reads one size alone, that one.

    A box with a key keeps what is in it when its default changes: the one that says what a model
    needs has none, so that another model finds its own default again.
    """
    told = "Images are resized to this side, in pixels."
    if card.fixed_size:
        told += f" {card.title} reads no other."
        st.number_input("Image size", value=card.native_size, disabled=True, help=told)
        return card.native_size
    usual: int = RUN_DEFAULTS["image_size"]
    size: int = st.number_input("Image size", value=usual, step=32, key=key, help=told, **URL)
    return size
