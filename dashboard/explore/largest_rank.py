"""The largest rank, one for all modes, whose activations fit a budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
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
    sizes = sorted({size for shape in shapes for size in shape.input_shape})
    # What decides nothing here is left out, so that answers are found again.
    asked = replace(settings, dataset="", skip_damaged=False, settings=())
    rank = _largest(asked, sizes, budget_bytes)
    if rank == 0:
        return f"Even **rank 1** in every mode takes {format_bytes(_bytes(asked, 1))}."
    takes = format_bytes(_bytes(asked, rank))
    if rank == sizes[-1]:
        return f"**The whole inputs** fit, at full rank in every mode: they take {takes}."
    return (
        f"With one rank for all modes, **rank {rank}** is the largest that fits: it takes {takes}, "
        f"rank {rank + 1} would take {format_bytes(_bytes(asked, rank + 1))}."
    )


def _largest(asked: ExploreSettings, sizes: Sequence[int], budget_bytes: int) -> int:
    """The largest rank that fits, up to the greatest of the modes' sizes; 0 if none does.

    Bytes grow with the rank from one mode's size to the next. At a size they may fall: a mode at
    full rank needs no factor.
    """
    starts = sorted({1, *sizes})
    for start, end in reversed(list(zip(starts, [*starts[1:], sizes[-1] + 1], strict=True))):
        ranks = range(start, end)
        fitting = bisect_right(ranks, budget_bytes, key=lambda rank: _bytes(asked, rank))
        if fitting:
            return ranks[fitting - 1]
    return 0


@lru_cache(maxsize=2048)
def _bytes(settings: ExploreSettings, rank: int) -> int:
    """By formula."""
    shapes = trained_layer_shapes(
        settings.model, settings.layers, settings.batch_size, settings.image_size
    )
    return step_cost(shapes, ASI(ranks=rank), settings.convention).activation_bytes
