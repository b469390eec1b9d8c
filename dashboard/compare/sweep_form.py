"""The form of a sweep: varied settings, forecast, and launch button."""

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

# Two columns for method settings, one for the rest.
_COLUMNS = 3


def sweep_panel() -> None:
    """Draw the form; model and images come from the setup."""
    with st.expander("Start a sweep", icon=":material/grid_on:", key="sweep-panel"):
        st.write(
            f"One model on the same images with many settings, at most {MOST_RUNS_OF_A_SWEEP} "
            "runs. They are kept as one comparison and appear in the figure as they end. Model, "
            "images and image size are those of the setup in the sidebar."
        )
        sweep = _sweep()
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


def _sweep() -> Sweep | None:
    """The sweep in the form; None, with an error message, if it is invalid."""
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
    """The varied settings by name, as text, and the number of steps of each run."""
    columns = st.columns(_COLUMNS)
    with columns[0]:
        methods = _methods()
    fields = {
        name: (field, owners)
        for name, (field, owners) in method_fields().items()
        if not field.in_mib and any(METHODS[kind] in owners for kind in methods)
    }
    texts: dict[str, Any] = {"methods": methods}
    for number, (name, (field, owners)) in enumerate(fields.items()):
        with columns[number % 2]:
            texts[name] = _axis(field, ", ".join(method.label for method in owners))
    with columns[2]:
        texts["layers"] = _axis(run_field("layers"))
        texts["seed"] = _axis(run_field("seed"))
        texts["references"] = st.toggle(
            "Include vanilla and linear probe",
            value=True,
            key="sweep_references",
            help="The baselines of the other methods, for all layers and seeds.",
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
        help="Each method runs with each of its settings.",
        **URL,
    )
    return [titles[title] for title in chosen]


def _axis(field: SettingField, owners: str = "") -> str:
    """A text box for several values of a setting."""
    setting = field.setting
    usual = setting.axis or (() if owners else (field.default,))
    names = setting.names
    prefix = f"{owners}: " if owners else ""
    text: str = st.text_input(
        names[0].upper() + names[1:],
        value=", ".join(map(str, usual)),
        key=f"sweep_{field.name}",
        help=f"{prefix}{setting.help} {_HOW.get(field.type, 'Values, separated by commas.')}",
        **URL,
    )
    return text


_HOW: dict[FieldType, str] = {
    "ranks": "1, 2, 4: three runs with one rank for all modes; 16x32x4x4: one rank per mode.",
    "layers": "Numbers, all, or names and patterns with spaces in between; separated by commas.",
    "switch": "on, off, or both separated by a comma.",
}


def _settings(texts: dict[str, str]) -> dict[str, list[Any]]:
    """The varied settings; for an empty text, methods use their defaults."""
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


_READERS: dict[FieldType, tuple[Callable[[str], Any], str, str]] = {
    "whole": (int, "whole numbers", "1, 2"),
    "number": (float, "numbers", "0.6, 0.8"),
    "layers": (str, "numbers, all, or names and patterns,", "2, 4"),
    "ranks": (_ranks, "numbers, or one per mode with x between them,", "1, 2, 4 or 16x32x4x4"),
    "switch": ({"on": True, "off": False}.__getitem__, "on or off", "on, off"),
}
