"""The form of a comparison: the setup of all pages, and what only training asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from asi_core.errors import InvalidInput
from asi_core.methods import METHODS, PUBLISHED, Vanilla
from asi_core.training.spec import RunSpec
from dashboard.controls import run_field, setting_box
from dashboard.frame import URL
from dashboard.setup import Setup, the_setup

# What is asked for beside the setup: at once, and in a drawer.
_HOW_LONG = ("steps", "seed")
_RECIPE = (
    *("learning_rate", "momentum", "weight_decay", "final_rate", "clip_norm"),
    *("pretrained", "lean", "train_norm"),
)


@dataclass(frozen=True)
class Asked:
    """What the form says, unchecked.

    Attributes:
        methods: kinds, in the order in which they were chosen.
        recipe: further fields of a run.
    """

    setup: Setup
    methods: tuple[str, ...]
    recipe: dict[str, Any]

    @property
    def left_out(self) -> dict[str, str]:
        """The chosen methods that mean nothing for the model's layers, with the reason of each."""
        geometry = self.setup.card.usual_geometry
        reasons = {kind: METHODS[kind].why_unsupported(geometry) for kind in self.methods}
        return {kind: why for kind, why in reasons.items() if why is not None}


def comparison_form() -> Asked:
    """Draw the form in the sidebar; `comparison_specs` checks what is chosen."""
    setup = the_setup()
    with st.sidebar:
        methods = st.multiselect(
            "Methods",
            list(METHODS),
            default=list(PUBLISHED),
            format_func=lambda kind: METHODS[kind].label,
            key="methods",
            help=_methods_explained(),
            **URL,
        )
        recipe = {name: setting_box(run_field(name)) for name in _HOW_LONG}
        with st.expander("Recipe", icon=":material/science:"):
            recipe |= {name: setting_box(run_field(name)) for name in _RECIPE}
        asked = Asked(setup, tuple(methods), recipe)
        for kind, why in asked.left_out.items():
            st.caption(f"{METHODS[kind].label} is left out: {why}.")
    return asked


def comparison_specs(asked: Asked) -> list[RunSpec]:
    """The runs of a comparison: the head alone, which every other is measured against, and one
    for each chosen method.

    Raises:
        InvalidInput, ValidationError: in one sentence, if a value is not allowed.
    """
    if not asked.methods:
        raise InvalidInput("a comparison needs a method", "none", "choose at least one")
    kinds = [kind for kind in METHODS if kind in set(asked.methods) - set(asked.left_out)]
    if not kinds:
        raise InvalidInput(
            "a comparison needs a method that the model's layers allow",
            ", ".join(METHODS[kind].label for kind in asked.methods),
            "choose another method or a convolutional model",
        )
    head = asked.setup.run_spec(Vanilla(), **{**asked.recipe, "layers": 0})
    methods = [asked.setup.method(kind) for kind in kinds]
    return [head, *(asked.setup.run_spec(method, **asked.recipe) for method in methods)]


def _methods_explained() -> str:
    rows = "".join(f"\n- **{m.label}**: {m.described()}" for m in METHODS.values())
    return "What is kept of each trained layer's input until the weight gradient needs it." + rows
