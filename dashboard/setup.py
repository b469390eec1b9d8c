"""The setup: model, images and method settings, in the sidebar and shared by all pages.

`main.py` draws it around the pages, so Streamlit keeps its values, in the session and in the
address, when the visitor changes page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.errors import AsiError, one_sentence
from asi_core.fields import SettingField
from asi_core.methods import METHODS, Method, method_class
from asi_core.methods.registry import method_fields
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.zoo.cards import MODELS, ModelCard, model_card
from asi_core.zoo.outside import title_of
from dashboard.controls import (
    EACH,
    LAYER_NAMES_KEY,
    ONE,
    ONE_KEY,
    each_key,
    image_size_box,
    layers_box,
    rank_boxes,
    run_field,
    setting_box,
    tokens_box,
)
from dashboard.damage import skip_control
from dashboard.decoders import configuration_menu, model_choices
from dashboard.frame import URL
from dashboard.links import model_in_url, write_again
from dashboard.plain import plain
from dashboard.uploading import choose_images, upload_menu

# Key of the box that chooses where ranks come from.
_SOURCE = "ranks_from"
_DRAWN, _ABOVE = "setup-drawn", "setup-above"
_FRAGMENTS, _FOLLOWS = "setup-fragments", "setup-follows"
_NETWORK = ("model", "dataset", "skip_damaged", "layers", "batch_size", "image_size")


@dataclass(frozen=True)
class Setup:
    """The values of the setup's boxes, unchecked.

    Attributes:
        settings: method settings by name; of the alternatives (where ranks come from) only the
            chosen one.
        tokens: of each text of a language model, which reads no images; None for other models.
    """

    model: str
    dataset: str
    skip_damaged: bool
    layers: int | str
    batch_size: int
    image_size: int
    settings: tuple[tuple[str, Any], ...] = ()
    tokens: int | None = None

    @property
    def card(self) -> ModelCard:
        return model_card(self.model)

    @property
    def size(self) -> dict[str, int]:
        """Of what the model reads, by name: `image_size` or `tokens`."""
        if self.tokens is None:
            return {"image_size": self.image_size}
        return {"tokens": self.tokens}

    @property
    def explained_variance(self) -> float | None:
        """The explained variance that determines the ranks; None if the ranks are given."""
        share: float | None = dict(self.settings).get("explained_variance")
        return share

    def method(self, kind: str) -> Method:
        """A method with its part of the settings; raises ValidationError for an invalid one."""
        method = method_class(kind)
        fields = method.model_fields
        # What is left at its default is not given, as other settings may imply another value.
        given = {
            name: value
            for name, value in self.settings
            if name in fields and (fields[name].is_required() or value != fields[name].default)
        }
        if method.alternatives and not given.keys() & set(method.alternatives):
            first = method.alternatives[0]
            given[first] = method_fields()[first][0].start
        return method.model_validate({"kind": kind, **given})

    def methods(self) -> list[Method]:
        """All registered methods with these settings, vanilla first; raises as `method`."""
        return [self.method(kind) for kind in METHODS]

    def run_spec(self, method: Method, **changes: Any) -> RunSpec:
        """The specification of a run; raises ValidationError for an invalid value."""
        return RunSpec.model_validate({**self.network, "method": method, **changes})

    @property
    def network(self) -> dict[str, Any]:
        """The fields of a run that describe the model and the images."""
        return {name: getattr(self, name) for name in _NETWORK}


def draw_setup() -> None:
    """Draw the setup in the sidebar, before the page.

    It has the same place on all pages: Streamlit would drop moved boxes from the address.
    """
    st.session_state.pop(_FRAGMENTS, None)
    write_again(_keys())
    with st.sidebar:
        st.session_state[_ABOVE] = st.container()
        st.session_state[_DRAWN] = _boxes()


def _keys() -> Iterator[str]:
    """Keys of all boxes that the setup may have."""
    yield from (*_NETWORK, "tokens", LAYER_NAMES_KEY, _SOURCE, ONE_KEY, *method_fields())
    for names in {card.mode_names for card in MODELS.values()}:
        yield from map(each_key, names)


def above_setup() -> DeltaGenerator:
    """The container above the setup, for a page that is not about it; called once per run."""
    place = st.session_state.pop(_ABOVE, None)
    return st.sidebar.container() if place is None else place


def the_setup(fragments: Sequence[str] = ()) -> Setup:
    """The setup as drawn by the frame around the page; called once per run.

    Args:
        fragments: keys of the page's fragments that are rerun, instead of the whole page, when a
            box changes on which no other box depends. They read the values by `as_it_stands`.
    """
    if _DRAWN not in st.session_state:
        # The page runs without `main.py`.
        draw_setup()
        st.session_state.pop(_ABOVE)
    st.session_state[_FRAGMENTS] = list(fragments)
    setup: Setup = st.session_state.pop(_DRAWN)
    return setup


def was_redrawn() -> bool:
    """Whether only fragments are rerun because a box has changed; called once per run."""
    return bool(st.session_state.pop(_FOLLOWS, False))


def redraw() -> None:
    """Rerun the fragments that the page has named; for callbacks."""
    if fragments := st.session_state.get(_FRAGMENTS):
        st.session_state[_FOLLOWS] = True
        st.rerun(fragments)


def _boxes() -> Setup:
    model = _model()
    card = card_or_stop(model)
    images = _images(card)
    configuration_menu()
    chosen = {
        "model": model,
        **images,
        "layers": layers_box(card, redraw),
        "batch_size": setting_box(run_field("batch_size"), on_change=redraw),
        **_sizes(card),
    }
    return Setup(**chosen, settings=tuple(_settings(card).items()))


def card_or_stop(name: str) -> ModelCard:
    """The card of a chosen model; where it cannot be had, the reason, and the page ends here."""
    if name in MODELS:
        return MODELS[name]
    try:
        with st.spinner(f"Reading the layers of {title_of(name)} ...", show_time=True):
            return model_card(name)
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        st.stop()


def as_it_stands(setup: Setup) -> Setup:
    """A drawn setup, with the current values of its boxes."""
    state = st.session_state
    numbers = {
        name: state.get(name, getattr(setup, name))
        for name in ("layers", "batch_size", *setup.size)
    }
    # Names, which the slider does not have, are redrawn with the whole page.
    if isinstance(setup.layers, str):
        numbers["layers"] = setup.layers
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


def _model() -> str:
    if unknown := model_in_url():
        st.warning(unknown)
    field = run_field("model")
    model: str = st.selectbox(
        field.setting.label,
        model_choices(),
        format_func=title_of,
        key=field.name,
        help=field.setting.help,
        **URL,
    )
    return model


def _images(card: ModelCard) -> dict[str, Any]:
    """The images, where the model reads any."""
    if card.reads == "tokens":
        return {name: RUN_DEFAULTS[name] for name in ("dataset", "skip_damaged")}
    dataset = choose_images("dataset", run_field("dataset").setting.help)
    skip_damaged = skip_control(dataset)
    upload_menu(dataset)
    return {"dataset": dataset, "skip_damaged": skip_damaged}


def _sizes(card: ModelCard) -> dict[str, Any]:
    if card.reads == "tokens":
        return {"image_size": RUN_DEFAULTS["image_size"], "tokens": tokens_box(card, redraw)}
    return {"image_size": image_size_box(card, redraw)}


def _settings(card: ModelCard) -> dict[str, Any]:
    """Settings of all methods: where ranks come from first, the others in an expander."""
    fields = method_fields()
    alternatives = {name for method in METHODS.values() for name in method.alternatives}
    chosen = _alternative(
        card, [field for name, (field, _) in fields.items() if name in alternatives]
    )
    others = {name: each for name, each in fields.items() if name not in alternatives}
    with st.expander("Method settings", icon=":material/tune:"):
        for name, (field, owners) in others.items():
            why = [method.why_unsupported(card.usual_geometry) for method in owners]
            labels = ", ".join(method.label for method in owners)
            chosen[name] = setting_box(
                field, owners=labels, disabled=None not in why, on_change=redraw
            )
    return chosen


def _alternative(card: ModelCard, fields: list[SettingField]) -> dict[str, Any]:
    """The chosen one of alternative settings: where ranks come from.

    Budgets are left out: the Plan page is for them. Where no images are read, there are no spectra
    either.
    """
    ways: dict[str, tuple[SettingField, str]] = {}
    for field in sorted(fields, key=lambda field: field.type == "ranks"):
        if field.type == "ranks":
            ways |= {ONE: (field, ONE), EACH: (field, EACH)}
        elif not field.in_mib and card.reads == "images":
            ways[field.setting.label] = (field, "")
    if not ways:
        return {}
    source = st.selectbox(
        "Ranks from",
        list(ways),
        key=_SOURCE,
        help="Explained variance takes the ranks from measured spectra; otherwise you enter them.",
        **URL,
    )
    field, how = ways[source]
    if how:
        return {field.name: rank_boxes(field, how, card.mode_names, redraw)}
    return {field.name: setting_box(field, on_change=redraw)}
