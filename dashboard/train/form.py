"""The form of a comparison: the setup, and the settings that only training needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from asi_core.errors import InvalidInput
from asi_core.methods import METHODS, PUBLISHED, Vanilla
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.zoo.shapes import why_unsupported
from dashboard.controls import run_field, setting_box
from dashboard.frame import URL
from dashboard.links import put
from dashboard.setup import Setup, the_setup

# Settings besides the setup: always visible, and in an expander.
_HOW_LONG = ("steps", "seed")
_RECIPE = (
    *("optimizer", "learning_rate", "schedule", "final_rate", "warmup_steps"),
    *("momentum", "weight_decay", "clip_norm"),
    *("micro_batch", "apply_early", "layout"),
    *("pretrained", "lean", "activation_bits", "recompute_attention", "train_norm"),
)

# With these, vanilla ends far above the linear probe, and a run takes seconds.
SMALL_IMAGES = {"image_size": 40, "steps": 200}


@dataclass(frozen=True)
class Form:
    """The values of the form, unchecked; `recipe` has further fields of a run."""

    setup: Setup
    methods: tuple[str, ...]
    recipe: dict[str, Any]

    @property
    def left_out(self) -> dict[str, str]:
        """The chosen methods that do not support the model's layers, each with the reason."""
        model, layers = self.setup.model, self.setup.layers
        try:
            reasons = {kind: why_unsupported(METHODS[kind], model, layers) for kind in self.methods}
        except InvalidInput:
            # Names of no layer: the specification says so.
            return {}
        return {kind: why for kind, why in reasons.items() if why is not None}


def comparison_form() -> Form:
    """Draw the form in the sidebar; `comparison_specs` validates it."""
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
        _offer_small_images(setup)
        form = Form(setup, tuple(methods), recipe)
        for kind, why in form.left_out.items():
            st.caption(f"{METHODS[kind].label} is left out: {why}.")
    return form


def _offer_small_images(setup: Setup) -> None:
    """A click to a comparison in which the methods differ within a minute."""
    usual = {name: RUN_DEFAULTS[name] for name in ("model", "dataset", "image_size")}
    if {name: getattr(setup, name) for name in usual} == usual:
        st.button(
            f"Smaller images ({SMALL_IMAGES['image_size']} px)",
            icon=":material/photo_size_select_small:",
            key="small-images",
            on_click=_take_small_images,
            help="With images as large as these, the features of ImageNet are nearly enough: "
            "training more than the classifier adds little. With smaller ones it adds much, and "
            "takes a minute in all. docs/guide.md has measured accuracies.",
        )


def _take_small_images() -> None:
    for name, value in SMALL_IMAGES.items():
        put(name, value)


def comparison_specs(form: Form) -> list[RunSpec]:
    """The runs of a comparison: the linear probe as the baseline, and one for each chosen method;
    raises InvalidInput or ValidationError for an invalid value."""
    if not form.methods:
        raise InvalidInput("a comparison needs a method", "none", "choose at least one")
    kinds = [kind for kind in METHODS if kind in set(form.methods) - set(form.left_out)]
    if not kinds:
        raise InvalidInput(
            "a comparison needs a method that supports the model's layers",
            ", ".join(METHODS[kind].label for kind in form.methods),
            "choose another method or a convolutional model",
        )
    head = form.setup.run_spec(Vanilla(), **{**form.recipe, "layers": 0})
    methods = [form.setup.method(kind) for kind in kinds]
    return [head, *(form.setup.run_spec(method, **form.recipe) for method in methods)]


def _methods_explained() -> str:
    rows = "".join(f"\n- **{m.label}**: {m.described()}" for m in METHODS.values())
    return "What is kept of each trained layer's input until the weight gradient needs it." + rows
