"""The page's two pictures: memory and cost of all methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import streamlit as st

from asi_core.costs.accounting import LayerCost, StepCost
from asi_core.figures.explore import LayerBar, MethodBars, draw_kept_bytes, draw_work
from asi_core.figures.style import Drawing
from asi_core.methods import ASI, HOSVD, Method
from asi_core.units import THIN_SPACE, format_bytes, three_digits
from dashboard.explore.compared import MethodCost, present, reference
from dashboard.explore.settings import ExploreSettings, ViewSettings
from dashboard.frame import figure
from dashboard.setup import Setup

_MOST_SIDE_BY_SIDE = 12
_COUNTED = {
    "exact": "as the code executes it",
    "paper": "as the published tables count, with every convolution as dense and without the input "
    "gradient",
}


def pictures(
    settings: ExploreSettings,
    view: ViewSettings,
    costs: Sequence[MethodCost],
    on_drawn: Callable[[str], None] | None,
) -> None:
    """Draw memory and cost side by side; below each other where there are many bars.

    Args:
        on_drawn: called when the browser has drawn both.
    """
    memory, work = figures(tuple(costs), view)
    is_wide = view.per_layer and settings.layers > _MOST_SIDE_BY_SIDE
    left, right = (st.container(), st.container()) if is_wide else st.columns(2)
    with left:
        figure(memory, key="explore-memory", caption=_memory_caption(settings, view, costs))
    with right:
        caption = _cost_caption(settings, view) + _why_hosvd_is_dear(costs)
        figure(
            work,
            key="explore-cost",
            caption=caption,
            on_drawn=on_drawn,
            drawn_token=token(settings, view),
        )
    for one in costs:
        if one.missing is not None:
            st.caption(one.missing)


def token(setup: Setup, view: ViewSettings) -> str:
    """Tells the pictures of a setup from those of all others."""
    return f"{setup.network} {setup.settings} {view}"


@lru_cache(maxsize=64)
def figures(costs: tuple[MethodCost, ...], view: ViewSettings) -> tuple[Drawing, Drawing]:
    """Both figures; nobody may change them."""
    rows = [_bars(method, cost, view) for method, cost in present(costs)]
    shape = {"per_layer": view.per_layer, "log": view.log}
    return (
        draw_kept_bytes(rows, unit=view.byte_unit, **shape),
        draw_work(rows, unit=view.work_unit, **shape),
    )


def _bars(method: Method, cost: StepCost, view: ViewSettings) -> MethodBars:
    layers = [_bar(layer, view.work_factor) for layer in cost.layers]
    return MethodBars(method.label, method.kind, layers)


def _bar(layer: LayerCost, factor: int) -> LayerBar:
    macs = layer.macs
    work = {
        "forward": factor * macs.forward,
        "overhead": factor * macs.overhead,
        "input_gradient": factor * macs.input_gradient,
        "weight_gradient": factor * macs.weight_gradient,
    }
    return LayerBar(layer.shape.name, layer.activation_bytes, work)


def _memory_caption(
    settings: ExploreSettings, view: ViewSettings, costs: Sequence[MethodCost]
) -> str:
    source = ""
    if settings.explained_variance is not None:
        source = " The ranks come from measured spectra of one batch."
    return (
        "By formula: the trained layers' inputs as each method keeps them, 4 bytes per number, "
        "fewer where it rounds."
        f"{source}{_repeated(costs)}{_reading(view, 'layers')}"
    )


def _repeated(costs: Sequence[MethodCost]) -> str:
    """What the paper's convention counts more than once, in a sentence."""
    vanilla = reference(costs)
    if not vanilla.repeated_bytes:
        return ""
    return (
        f" {format_bytes(vanilla.repeated_bytes)} of vanilla's are inputs that two layers read: "
        "the paper counts them for each layer, PyTorch keeps them once."
    )


def _cost_caption(settings: ExploreSettings, view: ViewSettings) -> str:
    flops = " One MAC counts as two FLOPs." if view.flops else ""
    return (
        f"By formula, {_COUNTED[settings.convention]}: one training step of the trained layers."
        f"{flops}{_reading(view, 'parts')}"
    )


def _why_hosvd_is_dear(costs: Sequence[MethodCost]) -> str:
    """In a sentence; nothing without both methods."""
    overheads = {type(method): cost.macs.overhead for method, cost in present(costs)}
    asi, hosvd = overheads.get(ASI), overheads.get(HOSVD)
    if not (asi and hosvd):
        return ""
    times = three_digits(hosvd / asi)
    return (
        f" Overhead is compressing: HOSVD decomposes every input anew at each step, {times}"
        f"{THIN_SPACE}× the work of ASI's one iteration from the step before."
    )


def _reading(view: ViewSettings, stacked: str) -> str:
    if not view.log or (view.per_layer and stacked == "layers"):
        return ""
    return f" On the log axis the upper edges of the stacked {stacked} are read, not their heights."
