"""The controls of the Step page: how a step is run, what is compared, and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.methods import ASI, METHODS, REFERENCE_KIND
from asi_core.zoo.cards import ModelCard
from dashboard.controls import run_field, setting_box
from dashboard.frame import URL

# The reference with plain layers, as people have it; its own kind stands for the lean one.
PLAIN = "plain"
_USUAL = (ASI.class_kind(), PLAIN, REFERENCE_KIND)
_BOXES, _SWITCHES = ("micro_batch", "optimizer"), ("apply_early", "lean")
_SOURCES = {
    "formula": "From shapes alone, within about a second.",
    "measured": "Of a real step, once it has been measured here.",
}


@dataclass(frozen=True)
class StepControls:
    """The values of the page's controls, unchecked.

    Attributes:
        how: fields of a run by name: how its steps are run.
        chosen: kinds of methods, and `PLAIN`, in the order of the panels.
        prefers_measured: whether a measured step is shown where there is one, else the formula's.
        with_base: whether the figure includes what was there before the step.
    """

    how: dict[str, Any]
    chosen: tuple[str, ...]
    prefers_measured: bool
    with_base: bool


def step_controls(card: ModelCard) -> StepControls:
    """Draw the controls; what is compared and shown is in a menu."""
    first, second, third = st.columns([1, 1, 2], vertical_alignment="bottom")
    how = _boxes((first, second), _BOXES)
    with third, st.popover("Methods and view", icon=":material/visibility:"):
        view = _view(card)
    how |= _boxes(st.columns(2), _SWITCHES)
    return StepControls(how, *view)


def _boxes(columns: Sequence[DeltaGenerator], names: Sequence[str]) -> dict[str, Any]:
    values = {}
    for column, name in zip(columns, names, strict=True):
        with column:
            values[name] = setting_box(run_field(name))
    return values


def step_label(choice: str) -> str:
    """The name of a panel; vanilla is there with plain and with lean layers."""
    if choice == PLAIN:
        return METHODS[REFERENCE_KIND].label
    label = METHODS[choice].label
    return f"{label}, lean" if choice == REFERENCE_KIND else label


def _view(card: ModelCard) -> tuple[tuple[str, ...], bool, bool]:
    options = choices(card)
    chosen = st.multiselect(
        "Methods",
        options,
        default=[choice for choice in _USUAL if choice in options],
        format_func=step_label,
        key="step_methods",
        help=f"{step_label(PLAIN)} is shown as people have it, with plain layers, whatever the "
        f"switch for lean ones says, and “{step_label(REFERENCE_KIND)}” with lean layers.",
        **URL,
    )
    source = st.radio(
        "Numbers",
        list(_SOURCES),
        captions=list(_SOURCES.values()),
        key="source",
        help="Where one of the two is missing, the other is shown, and says so.",
        **URL,
    )
    with_base = st.toggle(
        "Show what was there before",
        key="with_base",
        help="Weights, the batch, optimiser state and warm starts lie there before the step, and "
        "are the same for all its moments. Off shows what the step adds.",
        **URL,
    )
    return tuple(c for c in options if c in chosen), source == "measured", with_base


def choices(card: ModelCard) -> Sequence[str]:
    """What can be compared: ASI, vanilla with plain and lean layers, and the other methods that
    support the model."""
    supported = [
        kind for kind, method in METHODS.items() if not method.why_unsupported(card.usual_geometry)
    ]
    first = [choice for choice in _USUAL if choice in (PLAIN, *supported)]
    return [*first, *(kind for kind in supported if kind not in first)]
