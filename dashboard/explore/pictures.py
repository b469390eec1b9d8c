"""The page's two figures: memory and cost of all methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import streamlit as st

from asi_core.costs.accounting import LayerCost, StepCost
from asi_core.figures.explore import LayerBar, MethodBars, draw_kept_bytes, draw_work
from asi_core.figures.style import Drawing
from asi_core.methods import ASI, HOSVD, Method
from asi_core.units import format_bytes, times
from dashboard.explore.compared import MethodCost, present, reference
from dashboard.explore.settings import ExploreSettings, ViewSettings
from dashboard.frame import figure
from dashboard.setup import Setup

_MOST_SIDE_BY_SIDE, _MOST_PER_LAYER = 12, 10
_COUNTED = {
    "exact": "as the code executes it",
    "paper": "as the published tables count it, with every convolution as dense and without the "
    "input gradient",
}


def pictures(
    settings: ExploreSettings,
    view: ViewSettings,
    costs: Sequence[MethodCost],
    on_drawn: Callable[[str], None] | None,
) -> None:
    """Draw memory and cost, side by side if there are few bars; `on_drawn` is called when the
    browser has drawn both."""
    memory, work = figures(tuple(costs), view)
    other = replace(view, log=not view.log)
    is_wide = view.per_layer and len(settings.shapes) > _MOST_SIDE_BY_SIDE
    left, right = (st.container(), st.container()) if is_wide else st.columns(2)
    with left:
        figure(
            memory,
            other_axis=lambda: figures(tuple(costs), other)[0],
            key="explore-memory",
            caption=_memory_caption(settings, view, costs),
        )
    with right:
        caption = _cost_caption(settings, view) + _why_hosvd_is_costly(costs)
        figure(
            work,
            other_axis=lambda: figures(tuple(costs), other)[1],
            key="explore-cost",
            caption=caption,
            on_drawn=on_drawn,
            drawn_token=token(settings, view),
        )


def tell_missing(costs: Sequence[MethodCost]) -> None:
    """Which methods are not drawn, and why."""
    for one in costs:
        if one.missing is not None:
            st.caption(one.missing)


def token(setup: Setup, view: ViewSettings) -> str:
    """Identifies the figures of a setup and view."""
    return f"{setup.network} {setup.tokens} {setup.settings} {view}"


@lru_cache(maxsize=64)
def figures(costs: tuple[MethodCost, ...], view: ViewSettings) -> tuple[Drawing, Drawing]:
    """Both figures; they are cached and must not be changed."""
    rows = [_bars(method, cost, view) for method, cost in _drawn(costs, view)]
    shape = {"per_layer": view.per_layer, "log": view.log}
    return (
        draw_kept_bytes(rows, unit=view.byte_unit, **shape),
        draw_work(rows, unit=view.work_unit, **shape),
    )


def _drawn(costs: Sequence[MethodCost], view: ViewSettings) -> list[tuple[Method, StepCost]]:
    """The methods that are drawn: more than ten bars per layer could not be told apart."""
    known = present(costs)
    return known[:_MOST_PER_LAYER] if view.per_layer else known


def _left_out(costs: Sequence[MethodCost], view: ViewSettings) -> str:
    """A sentence about methods without bars per layer; empty if there are none."""
    drawn, known = len(_drawn(costs, view)), len(present(costs))
    return "" if drawn == known else f" {drawn} of {known} methods are drawn: “total” shows all."


def _bars(method: Method, cost: StepCost, view: ViewSettings) -> MethodBars:
    layers = [_bar(layer, view.work_factor) for layer in cost.layers]
    return MethodBars(method.label, method.kind, layers)


def _bar(layer: LayerCost, factor: int) -> LayerBar:
    parts = ("forward", "overhead", "input_gradient", "weight_gradient")
    work = {part: factor * getattr(layer.macs, part) for part in parts}
    return LayerBar(layer.shape.name, layer.activation_bytes, work)


def _memory_caption(
    settings: ExploreSettings, view: ViewSettings, costs: Sequence[MethodCost]
) -> str:
    source = ""
    if settings.explained_variance is not None:
        source = " The ranks come from measured spectra of one batch."
    return (
        "By formula: the trained layers' inputs as each method keeps them, 4 bytes per number or "
        "fewer if it rounds."
        f"{source}{_repeated(costs)}{_left_out(costs, view)}"
    )


def _repeated(costs: Sequence[MethodCost]) -> str:
    """A sentence about inputs that the paper's convention counts more than once."""
    vanilla = reference(costs)
    if not vanilla.repeated_bytes:
        return ""
    return (
        f" {format_bytes(vanilla.repeated_bytes)} of vanilla's are inputs that two layers share: "
        "the paper counts them for each layer, PyTorch keeps them once."
    )


def _cost_caption(settings: ExploreSettings, view: ViewSettings) -> str:
    flops = " One MAC counts as two FLOPs." if view.flops else ""
    return (
        f"By formula, {_COUNTED[settings.convention]}: one training step of the trained layers."
        f"{flops}"
    )


def _why_hosvd_is_costly(costs: Sequence[MethodCost]) -> str:
    """A sentence about overheads; empty without both methods."""
    overheads = {type(method): cost.macs.overhead for method, cost in present(costs)}
    asi, hosvd = overheads.get(ASI), overheads.get(HOSVD)
    if not (asi and hosvd):
        return ""
    return (
        " Overhead is the cost of compression: HOSVD decomposes every input from scratch at each "
        f"step, {times(hosvd / asi)} the work of ASI's warm-started iteration."
    )
