"""What links say about a model and images, before the boxes are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from asi_core.datasets import DATASETS, DatasetCard
from asi_core.zoo.cards import MODELS
from dashboard.plain import plain


def names_in_url(images: Mapping[str, DatasetCard] | None = DATASETS) -> str | None:
    """Take a model and data set that a link names as the command line does.

    Boxes themselves read and write titles, as a visitor sees them.

    Args:
        images: what the page offers, by name; None where `settle_images` looks after them.

    Returns:
        a sentence about a name that there is not.
    """
    known: dict[str, Mapping[str, Any]] = {"model": MODELS}
    if images is not None:
        known["dataset"] = images
    for key, cards in known.items():
        named = st.query_params.get(key)
        if named in cards and key not in st.session_state:
            st.session_state[key] = named
        elif named is not None and named not in {*cards, *(c.title for c in cards.values())}:
            return plain(
                f"The link asks for the {key} {named!r}, which is unknown: choose from the list."
            )
    return None
