"""What is trained, and how methods are set: one record for all pages, in the sidebar of each.

Changing page keeps it: Streamlit keeps what boxes say that are bound to the address, under their
keys, and writes it into the next page's address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from asi_core.fields import SettingField
from asi_core.methods import METHODS, Method, method_class
from asi_core.methods.registry import method_fields
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS, ModelCard, model_card
from dashboard.controls import (
    EACH,
    ONE,
    ONE_KEY,
    Changed,
    each_key,
    image_size_box,
    layers_box,
    rank_boxes,
    run_field,
    setting_box,
)
from dashboard.damage import skip_control
from dashboard.frame import URL
from dashboard.links import names_in_url
from dashboard.uploading import choose_images, upload_menu

_SOURCE = "ranks_from"


@dataclass(frozen=True)
class Setup:
    """What is trained on what, unchecked.

    Attributes:
        settings: of methods, by name; of alternatives (where ranks come from) the chosen one.
    """

    model: str
    dataset: str
    skip_damaged: bool
    layers: int
    batch_size: int
    image_size: int
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def card(self) -> ModelCard:
        return model_card(self.model)

    @property
    def explained_variance(self) -> float | None:
        """From which ranks are found; None where they are given."""
        share: float | None = dict(self.settings).get("explained_variance")
        return share

    def method(self, kind: str) -> Method:
        """A method with those of the settings that it has.

        Raises:
            ValidationError: if one is not allowed.
        """
        method = method_class(kind)
        given = {name: value for name, value in self.settings if name in method.model_fields}
        if method.alternatives and not given.keys() & set(method.alternatives):
            first = method.alternatives[0]
            given[first] = method_fields()[first][0].start
        return method.model_validate({"kind": kind, **given})

    def methods(self) -> list[Method]:
        """All registered methods with these settings, vanilla first.

        Raises:
            ValidationError: if a setting is not allowed.
        """
        return [self.method(kind) for kind in METHODS]

    def run_spec(self, method: Method, **changes: Any) -> RunSpec:
        """The run that trains so.

        Raises:
            ValidationError: in one sentence, if a value is not allowed.
        """
        return RunSpec.model_validate({**self.network, "method": method, **changes})

    @property
    def network(self) -> dict[str, Any]:
        """The fields of a run that say what is trained on what."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "skip_damaged": self.skip_damaged,
            "layers": self.layers,
            "batch_size": self.batch_size,
            "image_size": self.image_size,
        }


def setup_sidebar(on_change: Changed = None) -> Setup:
    """Draw the setup in the sidebar: what is trained, and how methods are set.

    Args:
        on_change: called when a box changes on which no other box depends. If it has a part of the
            page alone run again, that part finds the values by `as_it_stands`.
    """
    with st.sidebar:
        network = _model_and_images()
        upload_menu(network["dataset"])
        card = MODELS[network["model"]]
        network |= {"layers": layers_box(card, on_change), **_sizes(card, on_change)}
        settings = _settings(card, on_change)
    return Setup(**network, settings=tuple(settings.items()))


def as_it_stands(setup: Setup) -> Setup:
    """A setup that was drawn, with what its boxes say now."""
    state = st.session_state
    numbers = {
        name: state.get(name, getattr(setup, name))
        for name in ("layers", "batch_size", "image_size")
    }
    settings = tuple((name, _now(name, value, setup)) for name, value in setup.settings)
    return replace(setup, **numbers, settings=settings)


def _now(name: str, value: Any, setup: Setup) -> Any:
    state = st.session_state
    if method_fields()[name][0].type != "ranks":
        return state.get(name, value)
    if isinstance(value, int):
        return state.get(ONE_KEY, value)
    names = setup.card.mode_names
    return tuple(state.get(each_key(n), rank) for n, rank in zip(names, value, strict=True))


def network_boxes() -> dict[str, Any]:
    """Draw the part of the setup that is the same in all runs of a sweep.

    Returns:
        fields of a run, unchecked.
    """
    network = _model_and_images()
    return network | _sizes(MODELS[network["model"]])


def _model_and_images() -> dict[str, Any]:
    if unknown := names_in_url(None):
        st.warning(unknown)
    field = run_field("model")
    model = st.selectbox(
        field.setting.label,
        list(MODELS),
        format_func=lambda name: MODELS[name].title,
        key=field.name,
        help=field.setting.help,
        **URL,
    )
    dataset = choose_images("dataset", run_field("dataset").setting.help)
    return {
        "model": model,
        "dataset": dataset,
        "skip_damaged": skip_control(dataset),
    }


def _sizes(card: ModelCard, on_change: Changed = None) -> dict[str, Any]:
    return {
        "batch_size": setting_box(run_field("batch_size"), on_change=on_change),
        "image_size": image_size_box(card, on_change),
    }


def _settings(card: ModelCard, on_change: Changed) -> dict[str, Any]:
    """Settings of all methods; those of which one is chosen come first, the rest in a drawer."""
    fields = method_fields()
    alternatives = {name for method in METHODS.values() for name in method.alternatives}
    chosen = _alternative(
        card, [field for name, (field, _) in fields.items() if name in alternatives], on_change
    )
    others = {name: each for name, each in fields.items() if name not in alternatives}
    with st.expander("Settings of methods", icon=":material/tune:"):
        for name, (field, owners) in others.items():
            why = [method.why_unsupported(card.usual_geometry) for method in owners]
            labels = ", ".join(method.label for method in owners)
            chosen[name] = setting_box(
                field, owners=labels, disabled=None not in why, on_change=on_change
            )
    return chosen


def _alternative(card: ModelCard, fields: list[SettingField], on_change: Changed) -> dict[str, Any]:
    """The one of a few settings that is chosen: where ranks come from.

    Budgets are planned for, on a page of their own.
    """
    ways: dict[str, tuple[SettingField, str]] = {}
    for field in sorted(fields, key=lambda field: field.type == "ranks"):
        if field.type == "ranks":
            ways |= {ONE: (field, ONE), EACH: (field, EACH)}
        elif not field.in_mib:
            ways[field.setting.label] = (field, "")
    if not ways:
        return {}
    source = st.selectbox(
        "Ranks from",
        list(ways),
        key=_SOURCE,
        help="Explained variance takes them from measured spectra; the others are given by you.",
        **URL,
    )
    field, how = ways[source]
    if how:
        return {field.name: rank_boxes(field, how, card.mode_names, on_change)}
    return {field.name: setting_box(field, on_change=on_change)}
