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
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL


def largest_rank(settings: ExploreSettings) -> None:
    """A box for the budget, and the answer in a sentence."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        budget = st.number_input(
            "Activation budget, KiB",
            min_value=1,
            value=256,
            step=32,
            key="activation_budget",
            width=210,
            help="For the trained layers' inputs only, as ASI and HOSVD keep them. The Plan page "
            "finds better ranks, one per layer and mode.",
            **URL,
        )
        st.markdown(rank_sentence(settings, budget * KIB))


def rank_sentence(settings: ExploreSettings, budget_bytes: int) -> str:
    """The largest rank that fits, and the bytes of the next one."""
    sizes = sorted({size for shape in settings.shapes for size in shape.input_shape})
    # Settings without influence are left out of the cache key.
    key = replace(settings, dataset="", skip_damaged=False, settings=())
    rank = _largest(key, sizes, budget_bytes)
    if rank == 0:
        return f"Even **rank 1** in every mode takes {format_bytes(_bytes(key, 1))}."
    takes = format_bytes(_bytes(key, rank))
    if rank == sizes[-1]:
        return f"**The whole inputs** fit, at full rank in every mode: they take {takes}."
    return (
        f"With one rank for all modes, **rank {rank}** is the largest that fits: it takes {takes}, "
        f"rank {rank + 1} would take {format_bytes(_bytes(key, rank + 1))}."
    )


def _largest(key: ExploreSettings, sizes: Sequence[int], budget_bytes: int) -> int:
    """The largest rank that fits, up to the largest mode size; 0 if none does.

    Bytes grow with the rank between two mode sizes. At a mode size they may fall: a mode at full
    rank needs no factor.
    """
    starts = sorted({1, *sizes})
    for start, end in reversed(list(zip(starts, [*starts[1:], sizes[-1] + 1], strict=True))):
        ranks = range(start, end)
        fitting = bisect_right(ranks, budget_bytes, key=lambda rank: _bytes(key, rank))
        if fitting:
            return ranks[fitting - 1]
    return 0


@lru_cache(maxsize=2048)
def _bytes(settings: ExploreSettings, rank: int) -> int:
    return step_cost(settings.shapes, ASI(ranks=rank), settings.convention).activation_bytes
