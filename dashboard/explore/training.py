"""From what is explored to the Train page with the same settings."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from asi_core.datasets import DATASETS
from dashboard.explore.settings import ExploreSettings


def train_link(settings: ExploreSettings) -> None:
    """A link to the Train page; nothing is launched there before another click."""
    # A window of its own: within one, Streamlit drops from the address what is bound to a control
    # of this page, and both pages have the same keys.
    st.link_button(
        "Train this",
        f"train?{urlencode(train_query(settings))}",
        type="primary",
        icon=":material/model_training:",
        help="Opens the Train page with these settings in a new tab, to see what they cost in "
        "accuracy.",
    )


def train_query(settings: ExploreSettings) -> dict[str, str]:
    """The controls of the Train page as they have to be, by their keys."""
    query = {
        "model": settings.card.title,
        "dataset": DATASETS[settings.dataset].title,
        "layers": str(settings.layers),
        "batch_size": str(settings.batch_size),
        "image_size": str(settings.image_size),
        "patch": str(settings.patch),
    }
    if settings.explained_variance is not None:
        return query | {
            "ranks_from": "Explained variance",
            "explained_variance": str(settings.explained_variance),
        }
    ranks = settings.ranks if isinstance(settings.ranks, tuple) else (settings.ranks,)
    return query | {"ranks_from": "Given ranks", "ranks": ", ".join(map(str, ranks))}
