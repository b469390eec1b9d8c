"""Boxes made of settings: a field that carries a `fields.Setting` has its box from there.

Every box is bound to the address under its key, which is the field's name unless a page says
otherwise, so that a link reproduces the view.
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

# What a box calls when it is changed.
Changed = Callable[[], None] | None

ONE, EACH = "One rank", "Ranks per mode"
ONE_KEY, USUAL_RANK = "rank", 8
_FEWEST_DIGITS = 2


def run_field(name: str) -> SettingField:
    """A field of a run, by its name."""
    return setting_fields(RunSpec)[name]


def setting_box(
    field: SettingField,
    *,
    key: str | None = None,
    owners: str = "",
    disabled: bool = False,
    on_change: Changed = None,
) -> Any:
    """Draw the box of a setting.

    Numbers are not checked here: what is made of them checks them, and says what is wrong.

    Args:
        key: of the box and in the address; the field's name by default.
        owners: whose setting it is, in front of the label.
        on_change: called before the page is run again.

    Returns:
        what is chosen.
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
            return st.selectbox(label, choices, place, format_func=field.title, **common, **URL)
        case "text":
            return st.text_input(label, value=field.start, **common, **URL)
    return _number_box(field, label, common)


def _number_box(field: SettingField, label: str, common: dict[str, Any]) -> Any:
    """A slider where the setting has ends for one, else a box with buttons."""
    setting = field.setting
    # Streamlit refuses whole numbers and fractions in one box.
    kind = float if field.type == "number" else int
    label += f", {setting.unit}" if setting.unit else ""
    start = field.start if isinstance(field.start, int | float) else None
    value, step = None if start is None else kind(start), kind(setting.step or 1)
    if setting.slider is not None and value is not None:
        low, high = map(kind, setting.slider)
        return st.slider(label, low, high, value, step, **common, **URL)
    return st.number_input(label, value=value, step=step, format=_format(field), **common, **URL)


def layers_box(card: ModelCard, on_change: Changed = None) -> int:
    """How many of a model's last layers are trained."""
    field = run_field("layers")
    count: int = st.slider(
        f"{field.setting.label} (of {card.layer_count})",
        1,
        card.layer_count,
        min(field.default, card.layer_count),
        key=field.name,
        help=field.setting.help,
        on_change=on_change,
        **URL,
    )
    return count


def image_size_box(card: ModelCard, on_change: Changed = None) -> int:
    """Pixels; of a model that reads one size alone, that one.

    A box with a key keeps what is in it when its default changes: the one that says what a model
    needs has none, so that another model finds its own default again.
    """
    field = run_field("image_size")
    if not card.fixed_size:
        size: int = setting_box(field, on_change=on_change)
        return size
    label, words = f"{field.setting.label}, {field.setting.unit}", field.setting.help
    st.number_input(
        label,
        value=card.native_size,
        disabled=True,
        help=f"{words} {card.title} reads no other.",
    )
    return card.native_size


def rank_boxes(
    field: SettingField, how: str, names: Sequence[str], on_change: Changed = None
) -> int | tuple[int, ...]:
    """One rank for all modes, or one per mode.

    Args:
        how: `ONE` or `EACH`.
        names: of the modes.
    """
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
    starts = setting.usual
    return tuple(
        st.number_input(
            f"{setting.label}: {name}",
            min_value=1,
            value=starts[mode],
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
    """As many digits as the step has, and one more."""
    if field.type != "number":
        return None
    digits = 1 - floor(log10(field.setting.step or 1))
    return f"%.{max(_FEWEST_DIGITS, digits)}f"
