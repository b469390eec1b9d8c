"""What is explored. Every control is bound to the URL under its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.datasets import DATASETS
from asi_core.methods import METHODS, USUAL_EXPLAINED_VARIANCE, USUAL_RANKS, Method
from asi_core.records import Convention
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.zoo.cards import MODELS, ModelCard
from asi_core.zoo.shapes import tabled_sizes
from dashboard.frame import URL

BY_VARIANCE, BY_RANK, BY_MODE = "Explained variance", "One rank", "Ranks per mode"
MOST_IN_BATCH = 256
_SIDE: int = RUN_DEFAULTS["image_size"]
# Pixels: two wide controls side by side are the most that a phone holds.
_WIDE, _NARROW = 210, 130
_DRAWN = "explore-controls-drawn"
# Other pages have controls under the same keys, with other options and other usual values.
SHARED_KEYS = (
    *("model", "dataset", "layers", "batch_size", "image_size"),
    *("ranks_from", "explained_variance", "rank", "patch", "convention"),
)


@dataclass(frozen=True, slots=True)
class ExploreSettings:
    """Everything that decides the numbers of the page.

    Attributes:
        explained_variance, ranks: exactly one is given.
        patch: of the gradient filter.
    """

    model: str
    dataset: str
    layers: int
    batch_size: int
    image_size: int
    explained_variance: float | None
    ranks: int | tuple[int, ...] | None
    patch: int
    convention: Convention

    @property
    def card(self) -> ModelCard:
        return MODELS[self.model]

    def methods(self) -> list[Method]:
        """All registered methods with these settings, vanilla first."""
        given = {
            "explained_variance": self.explained_variance,
            "ranks": self.ranks,
            "patch": self.patch,
        }
        return [
            method(**{"kind": kind, **{k: v for k, v in given.items() if k in method.model_fields}})
            for kind, method in METHODS.items()
        ]

    def run_spec(self, method: Method, **changes: Any) -> RunSpec:
        """The run that trains so."""
        size = {"batch_size": self.batch_size, "image_size": self.image_size}
        chosen = {"model": self.model, "dataset": self.dataset, "layers": self.layers, **size}
        return RunSpec.model_validate({**chosen, "method": method, **changes})


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How the numbers are shown."""

    flops: bool
    byte_unit: str
    per_layer: bool
    log: bool

    @property
    def work_unit(self) -> str:
        return "FLOPs" if self.flops else "MACs"

    @property
    def work_factor(self) -> int:
        """A multiply-accumulate is two floating-point operations."""
        return 2 if self.flops else 1


def chosen() -> tuple[ExploreSettings, ViewSettings]:
    """What the controls say, wherever on the page it is asked for."""
    state = st.session_state
    card = MODELS[state["model"]]
    by_rank = tuple(state[f"rank_{name}"] for name in card.mode_names if f"rank_{name}" in state)
    source = state["ranks_from"]
    settings = ExploreSettings(
        model=state["model"],
        dataset=state["dataset"],
        layers=state["layers"],
        batch_size=state["batch_size"],
        image_size=state["image_size"],
        explained_variance=state["explained_variance"] if source == BY_VARIANCE else None,
        ranks={BY_RANK: state.get("rank"), BY_MODE: by_rank}.get(source),
        patch=state["patch"],
        convention=state["convention"],
    )
    is_per_layer, is_log = state["bars"] == "per layer", state["axis"] == "log"
    view = ViewSettings(state["cost_unit"] == "FLOPs", state["memory_unit"], is_per_layer, is_log)
    return settings, view


def is_drawn() -> bool:
    """Whether the controls that others depend on say what they said when all were drawn.

    What the controls say is known before they are drawn again then, and pictures may come first.
    """
    drawn: object = st.session_state.get(_DRAWN)
    return drawn == _decisive()


def forget_what_was_drawn() -> None:
    """Have all controls drawn before anybody asks what they say."""
    st.session_state.pop(_DRAWN, None)


def _decisive() -> tuple[object, ...]:
    return tuple(st.session_state.get(key) for key in ("model", "ranks_from"))


def explore_controls(place: DeltaGenerator, *, variance_first: bool) -> None:
    """Draw all controls, side by side as far as the window is wide.

    Args:
        variance_first: whether ranks come from an explained variance unless something else is
            chosen; otherwise from one rank for all modes.
    """
    with place.container(border=True, key="explore-controls"):
        with _row():
            card = _network()
        with _row():
            _ranks(card, variance_first)
            _patch(card)
            with st.popover("Units and looks", icon=":material/visibility:"):
                _view()
    st.session_state[_DRAWN] = _decisive()


def _row() -> Any:
    return st.container(horizontal=True, vertical_alignment="bottom", gap="medium")


def _network() -> ModelCard:
    model = st.selectbox(
        "Model",
        list(MODELS),
        format_func=lambda name: MODELS[name].title,
        key="model",
        width=_WIDE,
        help="A network pretrained on ImageNet. Only its last layers are trained.",
        **URL,
    )
    card = MODELS[model]
    st.slider(
        f"Trained layers (of {card.layer_count})",
        1,
        card.layer_count,
        4,
        key="layers",
        width=_WIDE,
        help="How many of the last convolutions (in transformers: linear layers of the MLPs) are "
        "trained, besides a new classifier. All before them is frozen and keeps nothing.",
        **URL,
    )
    st.slider(
        "Batch size",
        1,
        MOST_IN_BATCH,
        64,
        key="batch_size",
        width=_WIDE,
        help="Images in one training step. What is kept grows with it.",
        **URL,
    )
    sizes = tabled_sizes(card)
    st.selectbox(
        "Image size, pixels",
        sizes,
        index=sizes.index(_SIDE) if _SIDE in sizes else 0,
        key="image_size",
        width=_NARROW,
        help="Side to which images are resized. Some networks read only one size.",
        **URL,
    )
    st.selectbox(
        "Images",
        list(DATASETS),
        format_func=lambda name: DATASETS[name].title,
        key="dataset",
        width=_WIDE,
        help="Decides the size of the new classifier, and the spectra from which ranks come.",
        **URL,
    )
    return card


def _ranks(card: ModelCard, variance_first: bool) -> None:
    source = st.selectbox(
        "Ranks of ASI and HOSVD from",
        [BY_VARIANCE, BY_RANK, BY_MODE],
        index=0 if variance_first else 1,
        key="ranks_from",
        width=_WIDE,
        help="Explained variance takes them from measured spectra; the others are given by you. "
        "A rank larger than its mode counts as the mode's size.",
        **URL,
    )
    if source == BY_VARIANCE:
        st.slider(
            "Explained variance",
            0.05,
            1.0,
            USUAL_EXPLAINED_VARIANCE,
            0.01,
            key="explained_variance",
            width=_WIDE,
            help="Share of each mode's energy (sum of squared singular values) that is kept.",
            **URL,
        )
    elif source == BY_RANK:
        st.slider(
            "Rank of every mode",
            1,
            64,
            8,
            key="rank",
            width=_WIDE,
            help="One rank for all modes.",
            **URL,
        )
    else:
        for mode, name in enumerate(card.mode_names):
            st.number_input(
                f"Rank: {name}",
                min_value=1,
                value=USUAL_RANKS[mode],
                key=f"rank_{name}",
                width=_NARROW,
                help=f"How many singular directions of the {name} mode are kept.",
                **URL,
            )


def _patch(card: ModelCard) -> None:
    st.slider(
        "Patch of the gradient filter",
        1,
        8,
        2,
        key="patch",
        width=_WIDE,
        disabled=card.layer_kind == "linear",
        help="R: the output gradient is averaged over R × R patches. 1 filters nothing.",
        **URL,
    )


def _view() -> None:
    looks = {
        "convention": (
            "Convention",
            ["exact", "paper"],
            "exact counts what the code executes, with groups, output sizes and the input "
            "gradient. paper counts as the published tables do: every convolution as dense, the "
            "forward pass at input size, no input gradient.",
        ),
        "cost_unit": ("Cost in", ["MACs", "FLOPs"], "One MAC is two FLOPs."),
        "memory_unit": ("Memory in", ["KiB", "MiB"], "1 MiB = 1024 KiB."),
        "bars": ("Bars", ["per layer", "total"], "Each layer, or all of them together."),
        "axis": ("Axis", ["log", "linear"], "A log axis shows small and large together."),
    }
    for key, (label, options, told) in looks.items():
        st.radio(label, options, key=key, horizontal=True, help=told, **URL)
