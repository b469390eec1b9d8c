"""Launching a sweep: what is varied, what it will cost, and one button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.fields import FieldType, SettingField
from asi_core.methods import ASI, METHODS, Vanilla
from asi_core.methods.registry import method_fields
from asi_core.runs.submit.forecast import forecast
from asi_core.runs.submit.sweeps import MOST_RUNS_OF_A_SWEEP, Sweep
from dashboard.compare.kept import library
from dashboard.controls import run_field, setting_box
from dashboard.frame import URL
from dashboard.launching import launch_buttons
from dashboard.plain import plain
from dashboard.setup import the_setup

# Two with the settings of methods, one with all else.
_COLUMNS = 3


def sweep_panel() -> None:
    """Draw the launcher; what is trained on what is that of the other pages' setup."""
    with st.expander("Start a sweep", icon=":material/grid_on:", key="sweep-panel"):
        st.write(
            f"One network on the same images under many settings, at most {MOST_RUNS_OF_A_SWEEP} "
            "runs. They are kept as one comparison and become points of the picture as they end. "
            "The network, the images and their size are those of the setup in the sidebar."
        )
        sweep = _asked()
        if sweep is None:
            return
        specs = sweep.specs()
        st.markdown(f"**{len(specs)} runs.** {forecast(specs, library().runs()).sentence}")
        launch_buttons(
            specs,
            label="Start the sweep",
            key="start-sweep",
            icon=":material/play_arrow:",
            on_launched=lambda runs: None,
            most=MOST_RUNS_OF_A_SWEEP,
            help="Queue all runs. They can be cancelled together.",
        )


def _asked() -> Sweep | None:
    """The sweep of the form; None, with a message about the reason, if it cannot be."""
    texts, steps = _form()
    base = {**the_setup().network, "steps": steps, "method": Vanilla()}
    try:
        sweep = Sweep.model_validate(
            {
                "methods": texts.pop("methods"),
                "references": texts.pop("references"),
                "layers": _values(run_field("layers"), texts.pop("layers")),
                "seeds": _values(run_field("seed"), texts.pop("seed")),
                "settings": _settings(texts),
                "base": base,
            }
        )
        sweep.specs()
    except (AsiError, ValidationError) as error:
        st.error(plain(one_sentence(error)))
        return None
    return sweep


def _form() -> tuple[dict[str, Any], int]:
    """What is varied, by name, as it was written; and the steps of each run."""
    columns = st.columns(_COLUMNS)
    with columns[0]:
        methods = _methods()
    fields = {
        name: (field, owners)
        for name, (field, owners) in method_fields().items()
        if not field.in_mib and any(kind in methods for kind in _kinds(owners))
    }
    texts: dict[str, Any] = {"methods": methods}
    for number, (name, (field, owners)) in enumerate(fields.items()):
        with columns[number % 2]:
            texts[name] = _axis(field, ", ".join(method.label for method in owners))
    with columns[2]:
        texts["layers"] = _axis(run_field("layers"))
        texts["seed"] = _axis(run_field("seed"))
        texts["references"] = st.toggle(
            "Vanilla and the linear probe too",
            value=True,
            key="sweep_references",
            help="What the others are measured against, at all layers and seeds.",
            **URL,
        )
        steps = setting_box(run_field("steps"), key="sweep_steps")
    return texts, steps


def _methods() -> list[str]:
    titles = {method.label: kind for kind, method in METHODS.items() if method is not Vanilla}
    chosen = st.multiselect(
        "Methods",
        list(titles),
        default=[ASI.label],
        key="sweep_methods",
        help="Each is run at each of its settings.",
        **URL,
    )
    return [titles[title] for title in chosen]


def _kinds(owners: tuple[Any, ...]) -> list[str]:
    return [kind for kind, method in METHODS.items() if method in owners]


def _axis(field: SettingField, owners: str = "") -> str:
    """A box for several values of a setting."""
    setting = field.setting
    usual = setting.axis or (() if owners else (field.default,))
    names = setting.names
    text: str = st.text_input(
        names[0].upper() + names[1:],
        value=", ".join(map(str, usual)),
        key=f"sweep_{field.name}",
        help=_explained(field, owners),
        **URL,
    )
    return text


def _explained(field: SettingField, owners: str) -> str:
    whose = f"{owners}: " if owners else ""
    how = _HOW.get(field.type, "Values, separated by commas.")
    return f"{whose}{field.setting.help} {how}"


# Reading what was written -------------------------------------------------------------------------

_HOW: dict[FieldType, str] = {
    "ranks": "1, 2, 4 are three runs with one rank for all modes; 16x32x4x4 has one per mode.",
    "layers": "Numbers, or all, separated by commas.",
    "switch": "on, off, or both separated by a comma.",
}


def _settings(texts: dict[str, str]) -> dict[str, list[Any]]:
    """The settings that are varied: where nothing is written, a method has its own default."""
    fields = method_fields()
    return {name: _values(fields[name][0], text) for name, text in texts.items() if text.strip()}


def _values(field: SettingField, text: str) -> list[Any]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    read, rule, example = _READERS.get(field.type, (str, "values", "the values of the help text"))
    try:
        return [read(part) for part in parts]
    except (ValueError, KeyError):
        raise InvalidInput(
            f"{field.setting.names} must be {rule} separated by commas",
            repr(text),
            f"write for example {example}",
        ) from None


def _ranks(part: str) -> int | list[int]:
    each = [int(rank) for rank in part.split("x")]
    return each if len(each) > 1 else each[0]


def _layers(part: str) -> int | str:
    return part if part == "all" else int(part)


_READERS: dict[FieldType, tuple[Callable[[str], Any], str, str]] = {
    "whole": (int, "whole numbers", "1, 2"),
    "number": (float, "numbers", "0.6, 0.8"),
    "layers": (_layers, "numbers, or all,", "2, 4"),
    "ranks": (_ranks, "numbers, or one per mode with x between them,", "1, 2, 4 or 16x32x4x4"),
    "switch": ({"on": True, "off": False}.__getitem__, "on or off", "on, off"),
}
