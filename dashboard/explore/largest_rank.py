"""The largest rank, one for all modes, whose activations fit a budget."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import streamlit as st

from asi_core.costs.accounting import step_cost
from asi_core.methods import ASI
from asi_core.units import KIB, format_bytes
from asi_core.zoo.shapes import trained_layer_shapes
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL


def largest_rank(settings: ExploreSettings) -> None:
    """A budget to give, and the answer in a sentence."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        budget = st.number_input(
            "Activations may take, KiB",
            min_value=1,
            value=256,
            step=32,
            key="activation_budget",
            width=210,
            help="Of the trained layers' inputs alone, as ASI and HOSVD keep them. The Plan page "
            "gives every layer and mode a rank of its own, which is better.",
            **URL,
        )
        st.markdown(rank_sentence(settings, budget * KIB))


def rank_sentence(settings: ExploreSettings, budget_bytes: int) -> str:
    """What rank fits, and what the next one would take."""
    shapes = trained_layer_shapes(
        settings.model, settings.layers, settings.batch_size, settings.image_size
    )
    most = max(max(shape.input_shape) for shape in shapes)
    # What decides nothing here is left out, so that answers are found again.
    asked = replace(settings, explained_variance=None, ranks=1, patch=1)
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bytes(asked, middle) <= budget_bytes else (low, middle - 1)
    if low == 0:
        return f"Even **rank 1** in every mode takes {format_bytes(_bytes(asked, 1))}."
    takes = format_bytes(_bytes(asked, low))
    if low == most:
        return f"**Every rank** fits: the whole inputs take {takes}."
    return (
        f"With one rank for all modes, **rank {low}** is the largest that fits: it takes {takes}, "
        f"rank {low + 1} would take {format_bytes(_bytes(asked, low + 1))}."
    )


@lru_cache(maxsize=2048)
def _bytes(settings: ExploreSettings, rank: int) -> int:
    """By formula; grows with the rank, as every mode and the core do."""
    shapes = trained_layer_shapes(
        settings.model, settings.layers, settings.batch_size, settings.image_size
    )
    return step_cost(shapes, ASI(ranks=rank), settings.convention).activation_bytes
