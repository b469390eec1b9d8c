"""The form of a comparison. Every control is bound to the URL under its key."""

from __future__ import annotations

from typing import Any

import streamlit as st

from asi_core.errors import InvalidInput
from asi_core.methods import METHODS, PUBLISHED, USUAL_EXPLAINED_VARIANCE, USUAL_RANKS
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.zoo.cards import MODELS, ModelCard
from dashboard.bits import bits_control
from dashboard.damage import skip_control
from dashboard.frame import URL
from dashboard.image_size import image_size_box
from dashboard.uploading import choose_images, upload_menu

_BY_VARIANCE, _BY_RANK = "Explained variance", "Given ranks"


def comparison_form() -> dict[str, Any]:
    """Draw the form.

    Returns:
        what was chosen, unchecked; `comparison_specs` checks it.
    """
    what = _what()
    chosen = {**what, **_methods(MODELS[what["model"]]), **_how_long(MODELS[what["model"]])}
    with st.expander("Recipe", icon=":material/tune:"):
        chosen |= _recipe()
    return chosen


def comparison_specs(chosen: dict[str, Any]) -> list[RunSpec]:
    """The runs of a comparison: the head alone, which every other is measured against, and one
    for each chosen method.

    Raises:
        InvalidInput, ValidationError: in one sentence, if a value is not allowed.
    """
    if not chosen["methods"]:
        raise InvalidInput("a comparison needs a method", "none", "choose at least one")
    common = {name: chosen[name] for name in RunSpec.model_fields if name in chosen}
    head = RunSpec.model_validate({**common, "layers": 0, "method": {"kind": "vanilla"}})
    kinds = [kind for kind in chosen["methods"] if kind not in left_out(chosen)]
    if not kinds:
        raise InvalidInput(
            "a comparison needs a method that the model's layers allow",
            ", ".join(METHODS[kind].label for kind in chosen["methods"]),
            "choose another method or a convolutional model",
        )
    methods = [_method_settings(kind, chosen) for kind in METHODS if kind in kinds]
    return [head, *(RunSpec.model_validate({**common, "method": m}) for m in methods)]


def left_out(chosen: dict[str, Any]) -> list[str]:
    """The chosen methods that mean nothing for the chosen model's layers."""
    convolutional = MODELS[chosen["model"]].layer_kind == "conv"
    return [kind for kind in chosen["methods"] if kind == "gradient_filter" and not convolutional]


def _what() -> dict[str, Any]:
    model = st.selectbox(
        "Model",
        list(MODELS),
        format_func=lambda name: MODELS[name].title,
        key="model",
        help=_help("model"),
        **URL,
    )
    data = choose_images("dataset", _help("dataset"))
    upload_menu(data)
    skip = skip_control(data)
    most = MODELS[model].layer_count
    layers = st.number_input(
        f"Trained layers (of {most})",
        value=RUN_DEFAULTS["layers"],
        step=1,
        key="layers",
        help=_help("layers"),
        **URL,
    )
    return {"model": model, "dataset": data, "skip_damaged": skip, "layers": layers}


def _methods(card: ModelCard) -> dict[str, Any]:
    methods = st.multiselect(
        "Methods",
        list(METHODS),
        default=list(PUBLISHED),
        format_func=lambda kind: METHODS[kind].label,
        key="methods",
        help=_help("methods"),
        **URL,
    )
    if left_out({"model": card.name, "methods": methods}):
        st.caption("Gradient filter is left out: it averages image patches, which tokens lack.")
    by = st.radio("Ranks from", [_BY_VARIANCE, _BY_RANK], key="ranks_from", horizontal=True, **URL)
    chosen: dict[str, Any] = {"methods": methods, "explained_variance": None, "ranks": None}
    if by == _BY_VARIANCE:
        chosen["explained_variance"] = st.number_input(
            "Explained variance",
            value=USUAL_EXPLAINED_VARIANCE,
            step=0.05,
            format="%.2f",
            key="explained_variance",
            help=_help("explained_variance"),
            **URL,
        )
    else:
        chosen["ranks"] = st.text_input(
            f"Ranks ({', '.join(card.mode_names)})",
            value=", ".join(map(str, USUAL_RANKS[: card.modes])),
            # Other numbers of modes have a box of their own: what is in one fits no other.
            key="ranks" if card.modes == len(USUAL_RANKS) else f"ranks_of_{card.modes}",
            help=_help("ranks"),
            **URL,
        )
    chosen["patch"] = st.number_input(
        "Patch of the gradient filter", value=2, step=1, key="patch", help=_help("patch"), **URL
    )
    return chosen


def _how_long(card: ModelCard) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        steps = st.number_input("Steps", value=RUN_DEFAULTS["steps"], step=50, key="steps", **URL)
        size = image_size_box(card)
    with right:
        batch = st.number_input(
            "Batch size", value=RUN_DEFAULTS["batch_size"], step=16, key="batch_size", **URL
        )
        seed = st.number_input(
            "Seed", value=RUN_DEFAULTS["seed"], step=1, key="seed", help=_help("seed"), **URL
        )
    return {"steps": steps, "batch_size": batch, "image_size": size, "seed": seed}


def _recipe() -> dict[str, Any]:
    numbers = {
        "learning_rate": ("Learning rate", 0.01),
        "momentum": ("Momentum", 0.1),
        "clip_norm": ("Clip norm", 0.5),
    }
    recipe: dict[str, Any] = {
        key: st.number_input(
            label,
            value=RUN_DEFAULTS[key],
            step=step,
            key=key,
            help=_help(key),
            format="%.3f",
            **URL,
        )
        for key, (label, step) in numbers.items()
    }
    recipe["pretrained"] = st.toggle(
        "Pretrained weights",
        value=RUN_DEFAULTS["pretrained"],
        key="pretrained",
        help=_help("pretrained"),
        **URL,
    )
    recipe["lean"] = st.toggle(
        "Lean normalisations and activations",
        value=RUN_DEFAULTS["lean"],
        key="lean",
        help=_help("lean"),
        **URL,
    )
    recipe["train_norm"] = st.toggle(
        "Train normalisations too", key="train_norm", help=_help("train_norm"), **URL
    )
    return recipe | _algorithms()


def _algorithms() -> dict[str, Any]:
    """How ASI and HOSVD find their factors."""
    return {
        "sequential": st.toggle(
            "ASI: one mode after the other",
            value=True,
            key="sequential",
            help=_help("sequential"),
            **URL,
        ),
        "refresh_every": st.number_input(
            "ASI: refresh factors every … steps",
            value=1,
            step=1,
            key="refresh_every",
            help=_help("refresh_every"),
            **URL,
        ),
        "bits": bits_control("ASI: bits of a kept number"),
        "solver": st.selectbox(
            "HOSVD: factors from",
            list(_SOLVERS),
            format_func=lambda solver: _SOLVERS[solver],
            key="solver",
            help=_help("solver"),
            **URL,
        ),
    }


def _method_settings(kind: str, chosen: dict[str, Any]) -> dict[str, Any]:
    fields = METHODS[kind].model_fields
    settings: dict[str, Any] = {"kind": kind}
    if "explained_variance" in fields and chosen["explained_variance"] is not None:
        settings["explained_variance"] = chosen["explained_variance"]
    elif "ranks" in fields:
        settings["ranks"] = _parse_ranks(chosen["ranks"])
    if "patch" in fields:
        settings["patch"] = chosen["patch"]
    how = ("sequential", "refresh_every", "bits", "solver")
    return settings | {name: chosen[name] for name in how if name in fields and name in chosen}


def _parse_ranks(text: str) -> int | list[int]:
    try:
        ranks = [int(part) for part in str(text).split(",")]
    except ValueError:
        raise InvalidInput(
            "ranks must be one whole number, or one a mode separated by commas",
            repr(text),
            "write for example 8 or 16, 32, 4, 4",
        ) from None
    return ranks[0] if len(ranks) == 1 else ranks


def _help(key: str) -> str:
    return _HELP[key]


_SOLVERS = {"gram": "the Gram matrix", "svd": "the full SVD"}
_HELP = {
    "model": "A network pretrained on ImageNet. Only its last layers are trained here.",
    "dataset": "Images that the network has not seen, with their classes.",
    "layers": "How many of the last convolutions (in transformers: linear layers of the MLPs) "
    "are trained, besides a new classifier. All before them is frozen.",
    "methods": "What is kept of each trained layer's input until the weight gradient needs it. "
    "8-bit and checkpointing are what PyTorch users would pick instead: a byte an element, or "
    "nothing but each block's input, which then runs twice.",
    "explained_variance": "Ranks are chosen so that each mode keeps this share of the energy "
    "(the sum of squared singular values). ASI chooses once, HOSVD at every step.",
    "ranks": "One number for all modes, or one each. A rank above a mode's size keeps all of it.",
    "patch": "R: the output gradient is averaged over R x R patches.",
    "image_size": "Images are resized to this side, in pixels.",
    "seed": "Decides the order of the images and the start of the new classifier. "
    "The same seed gives the same numbers.",
    "learning_rate": "Of the first step; it falls along a cosine to a tenth of this.",
    "momentum": "Of stochastic gradient descent. The published recipe uses none.",
    "clip_norm": "The largest norm that all gradients together may have.",
    "pretrained": "Off starts from random weights: for measuring memory and time where the "
    "pretrained ones cannot be had. The accuracy then means nothing.",
    "lean": "Whether they keep only what their gradients need: the same numbers from fewer "
    "bytes. To the last bit, or to rounding where a compressed layer does the work of a frozen "
    "normalisation as well, which saves time.",
    "sequential": "Each mode is iterated on the tensor that the modes before have already reduced, "
    "which is far cheaper. Off iterates every mode on the full tensor, as published.",
    "refresh_every": "1 iterates all factors at every step, as published. 4 iterates the channel, "
    "height and width factors at every fourth step only and projects on the old ones in between: "
    "less time, a little less energy. The batch's factor is always iterated.",
    "solver": "Both give the same ranks and subspaces. The Gram matrix is several times faster; "
    "the full SVD of every unfolding is the published way.",
    "train_norm": "Whether scale and shift of batch normalisations after the first trained layer "
    "are trained as well. Transformers have none.",
}
