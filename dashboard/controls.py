"""Widgets for settings: label, help and limits come from the field's `fields.Setting`.

Every widget is bound to the URL under its key, by default the field's name, so that a link
reproduces the view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, log10
from typing import Any

import streamlit as st

from asi_core.fields import SettingField, setting_fields
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import ModelCard
from dashboard.frame import URL

# Called when a widget changes.
Changed = Callable[[], None] | None

ONE, EACH = "One rank", "Ranks per mode"
ONE_KEY, USUAL_RANK = "rank", 8
LAYER_NAMES_KEY = "layer_names"
USUAL_TOKENS = 512
_FEWEST_DIGITS = 2


def run_field(name: str) -> SettingField:
    """A field of `RunSpec`, by its name."""
    return setting_fields(RunSpec)[name]


def setting_box(
    field: SettingField,
    *,
    key: str | None = None,
    owners: str = "",
    disabled: bool = False,
    on_change: Changed = None,
) -> Any:
    """Draw the widget of a setting and return its value, unchecked: the specification checks it.

    Args:
        key: of the widget and in the URL; the field's name by default.
        owners: the methods that have the setting, shown before the label.
        on_change: called before the script runs again.
    """
    setting = field.setting
    label = f"{owners}: {setting.name}" if owners else setting.label
    common: dict[str, Any] = {
        "key": key or field.name,
        "help": setting.help,
        "disabled": disabled,
        "on_change": on_change,
    }
    match field.type:
        case "switch":
            return st.toggle(label, value=bool(field.start), **common, **URL)
        case "choice":
            choices = list(field.choices)
            place = choices.index(field.start) if field.start in choices else None
            common["placeholder"] = setting.empty
            return st.selectbox(label, choices, place, format_func=field.title, **common, **URL)
        case "text":
            return st.text_input(label, value=field.start, **common, **URL)
    return _number_box(field, label, common)


def _number_box(field: SettingField, label: str, common: dict[str, Any]) -> Any:
    """A slider if the setting has a range for one, else a number input."""
    setting = field.setting
    # Streamlit refuses a mix of int and float in one widget.
    kind = float if field.type == "number" else int
    label += f", {setting.unit}" if setting.unit else ""
    start = field.start if isinstance(field.start, int | float) else None
    value, step = None if start is None else kind(start), kind(setting.step or 1)
    if setting.slider is not None and value is not None:
        low, high = map(kind, setting.slider)
        return st.slider(label, low, high, value, step, **common, **URL)
    common["placeholder"] = setting.empty
    return st.number_input(label, value=value, step=step, format=_format(field), **common, **URL)


def layers_box(card: ModelCard, on_change: Changed = None) -> int | str:
    """A slider for how many of a model's last layers are trained, and a box for which others."""
    field = run_field("layers")
    place = st.container()
    in_link = LAYER_NAMES_KEY in st.query_params
    with st.expander("Layers by name", icon=":material/checklist:", expanded=in_link):
        named: str = st.text_input(
            "Names or patterns",
            key=LAYER_NAMES_KEY,
            placeholder="features.1[0-9].*",
            help="Trains these layers instead of the last ones: names, ends of names, or patterns "
            "in which * stands for any text, with spaces between them. Empty for the last layers.",
            **URL,
        )
    count: int = place.slider(
        f"{field.setting.label} (of {card.layer_count})",
        1,
        card.layer_count,
        min(field.default, card.layer_count),
        key=field.name,
        help=field.setting.help,
        disabled=bool(named.strip()),
        on_change=on_change,
        **URL,
    )
    return " ".join(named.split()) or count


def image_size_box(card: ModelCard, on_change: Changed = None) -> int:
    """A box for the image size in pixels; disabled for a model with a fixed size.

    The disabled box has no key: a box with a key would keep its value when the model changes.
    """
    field = run_field("image_size")
    if not card.fixed_size:
        size: int = setting_box(field, on_change=on_change)
        return size
    st.number_input(
        f"{field.setting.label}, {field.setting.unit}",
        value=card.native_size,
        disabled=True,
        help=f"{field.setting.help} {card.title} accepts only this size.",
    )
    return card.native_size


def tokens_box(card: ModelCard, on_change: Changed = None) -> int:
    """A box for the length of a language model's texts."""
    tokens: int = st.number_input(
        "Tokens",
        min_value=1,
        max_value=card.native_size,
        value=min(USUAL_TOKENS, card.native_size),
        step=64,
        key="tokens",
        help="Length of each text of the batch. The bytes kept grow with it.",
        on_change=on_change,
        **URL,
    )
    return tokens


def rank_boxes(
    field: SettingField, how: str, names: Sequence[str], on_change: Changed = None
) -> int | tuple[int, ...]:
    """Boxes for one rank for all modes (`how` is `ONE`), or one per mode (`EACH`)."""
    setting = field.setting
    if how == ONE:
        low, high = setting.slider or (1, 64)
        rank: int = st.slider(
            f"{setting.label} of every mode",
            int(low),
            int(high),
            USUAL_RANK,
            key=ONE_KEY,
            help=setting.help,
            on_change=on_change,
            **URL,
        )
        return rank
    return tuple(
        st.number_input(
            f"{setting.label}: {name}",
            min_value=1,
            value=setting.usual[mode],
            key=each_key(name),
            help=f"How many singular directions of the {name} mode are kept.",
            on_change=on_change,
            **URL,
        )
        for mode, name in enumerate(names)
    )


def each_key(mode_name: str) -> str:
    """Key of the box for a mode's rank."""
    return f"rank_{mode_name}"


def _format(field: SettingField) -> str | None:
    """A format with one more decimal place than the step has."""
    if field.type != "number":
        return None
    digits = 1 - floor(log10(field.setting.step or 1))
    return f"%.{max(_FEWEST_DIGITS, digits)}f"
