"""What is explored. Every control is bound to the URL under its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from asi_core.datasets import DATASETS
from asi_core.methods import METHODS, Method
from asi_core.records import Convention
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS, ModelCard
from asi_core.zoo.shapes import tabled_sizes
from dashboard.frame import URL

BY_VARIANCE, BY_RANK, BY_MODE = "Explained variance", "One rank", "Ranks per mode"
MOST_IN_BATCH = 256
_RANKS = (16, 32, 4, 4)
_SIDE = 96


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


def explore_controls(*, variance_first: bool) -> tuple[ExploreSettings, ViewSettings]:
    """Draw all controls.

    Args:
        variance_first: whether ranks come from an explained variance unless something else is
            chosen; otherwise from one rank for all modes.
    """
    what = _network()
    card = MODELS[what["model"]]
    how = {**_ranks(card, variance_first), "patch": _patch(card)}
    convention: Convention = _choice(
        "Convention",
        ["exact", "paper"],
        "convention",
        "exact counts what the code executes, with groups, output sizes and the input gradient. "
        "paper counts as the published tables do: every convolution as dense, the forward pass at "
        "input size, no input gradient.",
    )
    return ExploreSettings(**what, **how, convention=convention), _view()


def _network() -> dict[str, Any]:
    model = st.selectbox(
        "Model",
        list(MODELS),
        format_func=lambda name: MODELS[name].title,
        key="model",
        help="A network pretrained on ImageNet. Only its last layers are trained.",
        **URL,
    )
    card = MODELS[model]
    layers = st.slider(
        f"Trained layers (of {card.layer_count})",
        1,
        card.layer_count,
        4,
        key="layers",
        help="How many of the last convolutions (in transformers: linear layers of the MLPs) are "
        "trained, besides a new classifier. All before them is frozen and keeps nothing.",
        **URL,
    )
    batch = st.slider(
        "Batch size",
        1,
        MOST_IN_BATCH,
        64,
        key="batch_size",
        help="Images in one training step. What is kept grows with it.",
        **URL,
    )
    sizes = tabled_sizes(card)
    size = st.selectbox(
        "Image size, pixels",
        sizes,
        index=sizes.index(_SIDE) if _SIDE in sizes else 0,
        key="image_size",
        help="Side to which images are resized. Some networks read only one size.",
        **URL,
    )
    dataset = st.selectbox(
        "Images",
        list(DATASETS),
        format_func=lambda name: DATASETS[name].title,
        key="dataset",
        help="Decides the size of the new classifier, and the spectra from which ranks come.",
        **URL,
    )
    chosen = {"model": model, "dataset": dataset, "layers": layers}
    return {**chosen, "batch_size": batch, "image_size": size}


def _ranks(card: ModelCard, variance_first: bool) -> dict[str, Any]:
    sources = [BY_VARIANCE, BY_RANK, BY_MODE]
    source = st.radio(
        "Ranks of ASI and HOSVD from",
        sources,
        index=0 if variance_first else 1,
        key="ranks_from",
        help="Explained variance takes them from measured spectra; the others are given by you. "
        "A rank larger than its mode counts as the mode's size.",
        **URL,
    )
    if source == BY_VARIANCE:
        share = st.slider(
            "Explained variance",
            0.05,
            1.0,
            0.8,
            0.01,
            key="explained_variance",
            help="Share of each mode's energy (sum of squared singular values) that is kept.",
            **URL,
        )
        return {"explained_variance": share, "ranks": None}
    if source == BY_RANK:
        rank = st.slider(
            "Rank of every mode", 1, 64, 8, key="rank", help="One rank for all modes.", **URL
        )
        return {"explained_variance": None, "ranks": rank}
    return {"explained_variance": None, "ranks": _rank_per_mode(card)}


def _rank_per_mode(card: ModelCard) -> tuple[int, ...]:
    columns = st.columns(2)
    return tuple(
        columns[mode % 2].number_input(
            f"Rank: {name}",
            min_value=1,
            value=_RANKS[mode],
            key=f"rank_{name}",
            help=f"How many singular directions of the {name} mode are kept.",
            **URL,
        )
        for mode, name in enumerate(card.mode_names)
    )


def _patch(card: ModelCard) -> int:
    patch: int = st.slider(
        "Patch of the gradient filter",
        1,
        8,
        2,
        key="patch",
        disabled=card.layer_kind == "linear",
        help="R: the output gradient is averaged over R × R patches. 1 filters nothing.",
        **URL,
    )
    return patch


def _view() -> ViewSettings:
    work = _choice("Cost in", ["MACs", "FLOPs"], "cost_unit", "One MAC is two FLOPs.")
    unit = _choice("Memory in", ["KiB", "MiB"], "memory_unit", "1 MiB = 1024 KiB.")
    bars = _choice("Bars", ["per layer", "total"], "bars", "Each layer, or all of them together.")
    axis = _choice("Axis", ["log", "linear"], "axis", "A log axis shows small and large together.")
    return ViewSettings(work == "FLOPs", unit, bars == "per layer", axis == "log")


def _choice(label: str, options: list[str], key: str, told: str) -> Any:
    return st.radio(label, options, key=key, horizontal=True, help=told, **URL)
