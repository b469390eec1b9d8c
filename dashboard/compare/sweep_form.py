"""Launching a sweep: what is varied, what it will cost, and one button."""

from __future__ import annotations

from typing import Any, TypeVar

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.methods import METHODS
from asi_core.runs.submit.forecast import forecast
from asi_core.runs.submit.sweeps import (
    MOST_RUNS_OF_A_SWEEP,
    Sweep,
)
from asi_core.training.spec import RUN_DEFAULTS
from asi_core.zoo.cards import MODELS
from dashboard.compare.kept import library
from dashboard.damage import skip_control
from dashboard.frame import URL
from dashboard.image_size import image_size_box
from dashboard.launching import launch_buttons
from dashboard.plain import plain
from dashboard.uploading import choose_images

Number = TypeVar("Number", int, float)


def sweep_panel() -> None:
    """Draw the launcher."""
    with st.expander("Start a sweep", icon=":material/grid_on:", key="sweep-panel"):
        st.write(
            f"One network on the same images under many settings, at most {MOST_RUNS_OF_A_SWEEP} "
            "runs. They are kept as one comparison and become points of the picture as they end."
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
    """The sweep of the form; None, with the reason told, if it cannot be."""
    chosen = _form()
    try:
        sweep = Sweep.model_validate(
            {
                **{name: chosen[name] for name in ("methods", "references")},
                "explained_variances": _numbers("explained variances", chosen["variances"], float),
                "ranks": _ranks(chosen["ranks"]),
                "patches": _numbers("patches", chosen["patches"], int),
                "layers": _layers(chosen["layers"]),
                "seeds": _numbers("seeds", chosen["seeds"], int),
                "base": {**chosen["base"], "method": {"kind": "vanilla"}},
            }
        )
        sweep.specs()
    except (AsiError, ValidationError) as error:
        st.error(plain(one_sentence(error)))
        return None
    return sweep


def _form() -> dict[str, Any]:
    left, middle, right = st.columns(3)
    with left:
        chosen = _axes()
    with middle:
        chosen |= _more_axes()
    with right:
        chosen["base"] = _base()
    return chosen


def _axes() -> dict[str, Any]:
    titles = {METHODS[kind].label: kind for kind in METHODS if kind != "vanilla"}
    methods = st.multiselect(
        "Methods",
        list(titles),
        default=[METHODS["asi"].label],
        key="sweep_methods",
        help="Each is run at each of its settings.",
        **URL,
    )
    return {
        "methods": [titles[title] for title in methods],
        "variances": st.text_input(
            "Explained variances",
            value="0.4, 0.6, 0.8, 0.9",
            key="sweep_variances",
            help="Shares of each mode's energy that ranks must keep, 0 to 1, for ASI and HOSVD.",
            **URL,
        ),
        "ranks": st.text_input(
            "Ranks",
            key="sweep_ranks",
            help="Ranks for ASI and HOSVD: 1, 2, 4 are three runs with one rank for all modes; "
            "write 16x32x4x4 for one rank a mode.",
            **URL,
        ),
        "patches": st.text_input(
            "Patches",
            value="2",
            key="sweep_patches",
            help="Sides of the gradient filter's patches.",
            **URL,
        ),
    }


def _more_axes() -> dict[str, Any]:
    return {
        "layers": st.text_input(
            "Trained layers",
            value="4",
            key="sweep_layers",
            help="How many of the last layers are trained: numbers, or all.",
            **URL,
        ),
        "seeds": st.text_input(
            "Seeds",
            value="0",
            key="sweep_seeds",
            help="With several, the picture shows means and standard deviations.",
            **URL,
        ),
        "references": st.toggle(
            "Vanilla and the head alone too",
            value=True,
            key="sweep_references",
            help="What the others are measured against, at all layers and seeds.",
            **URL,
        ),
    }


def _base() -> dict[str, Any]:
    models = {card.title: name for name, card in MODELS.items()}
    model = st.selectbox(
        "Model", list(models), key="sweep_model", help="A network pretrained on ImageNet.", **URL
    )
    dataset = choose_images("sweep_dataset", "What it is fine-tuned on.")
    skip = skip_control(dataset, key="sweep_skip_damaged")
    card = MODELS[models[model]]
    numbers = {
        "steps": ("Steps", RUN_DEFAULTS["steps"]),
        "batch_size": ("Batch size", RUN_DEFAULTS["batch_size"]),
    }
    return {
        "model": models[model],
        "dataset": dataset,
        "skip_damaged": skip,
        **{
            name: st.number_input(
                label, value=value, step=1, key=f"sweep_{name}", help=_HELP[name], **URL
            )
            for name, (label, value) in numbers.items()
        },
        "image_size": image_size_box(card, key="sweep_image_size"),
    }


_HELP = {
    "steps": "Training steps of each run.",
    "batch_size": "Images a step.",
}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(what: str, text: str, kind: type[Number]) -> list[Number]:
    try:
        return [kind(part) for part in _parts(text)]
    except ValueError:
        raise InvalidInput(
            f"{what} must be numbers separated by commas", repr(text), "write for example 1, 2"
        ) from None


def _layers(text: str) -> list[int | str]:
    parts = _parts(text)
    return [p if p == "all" else _numbers("trained layers", p, int)[0] for p in parts]


def _ranks(text: str) -> list[int | list[int]]:
    try:
        many = [[int(rank) for rank in part.split("x")] for part in _parts(text)]
    except ValueError:
        raise InvalidInput(
            "ranks must be numbers separated by commas, or by x for one a mode",
            repr(text),
            "write for example 1, 2, 4 or 16x32x4x4",
        ) from None
    return [ranks if len(ranks) > 1 else ranks[0] for ranks in many]
