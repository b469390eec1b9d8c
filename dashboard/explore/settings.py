"""The settings of the Explore page: the setup, and how its numbers are shown."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from asi_core.errors import InvalidInput
from asi_core.methods import Vanilla
from asi_core.records import Convention, LayerShape
from asi_core.zoo.shapes import tabled_sizes, trained_layer_shapes
from dashboard.frame import URL, axis_control
from dashboard.setup import Setup


@dataclass(frozen=True)
class ViewSettings:
    """How the numbers are counted and shown."""

    convention: Convention
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


@dataclass(frozen=True)
class ExploreSettings(Setup):
    """All settings that determine the numbers of the page."""

    convention: Convention = "exact"

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """The shapes of the trained layers, in forward order."""
        return tuple(trained_layer_shapes(self.model, self.layers, self.batch_size, **self.size))


def explored(setup: Setup, view: ViewSettings) -> ExploreSettings:
    """The settings of the page, validated; raises AsiError or ValidationError for an invalid
    value."""
    settings = ExploreSettings(**vars(setup), convention=view.convention)
    if settings.card.reads == "tokens":
        _check_texts(settings)
    else:
        _check_images(settings)
    settings.methods()
    return settings


def _check_texts(settings: ExploreSettings) -> None:
    if not settings.shapes:
        raise InvalidInput("trained layers must be at least 1", 0, "choose 1 or more")


def _check_images(settings: ExploreSettings) -> None:
    settings.run_spec(Vanilla())
    sizes = tabled_sizes(settings.card)
    if settings.image_size not in sizes:
        # Tracing another size takes seconds and needs PyTorch, which pages do not import.
        raise InvalidInput(
            f"the formulas are available for images of {', '.join(map(str, sizes))} pixels",
            settings.image_size,
            f"choose {min(sizes, key=lambda size: abs(size - settings.image_size))}",
        )


_CHOICES = {
    "convention": (
        "Convention",
        ["exact", "paper"],
        "exact counts what the code executes, with groups, output sizes and the input gradient. "
        "paper counts as the published tables do: every convolution as dense, the forward pass at "
        "input size, no input gradient.",
    ),
    "cost_unit": ("Cost in", ["MACs", "FLOPs"], "One MAC is two FLOPs."),
    "memory_unit": ("Memory in", ["KiB", "MiB"], "1 MiB = 1024 KiB."),
    "bars": ("Bars", ["total", "per layer"], "The sum over all layers, or one bar per layer."),
}


def view_menu() -> ViewSettings:
    """The scale of the axes, and a menu for how numbers are counted and shown."""
    log = axis_control()
    with st.popover("Units and style", icon=":material/visibility:"):
        chosen = {
            key: st.radio(label, options, key=key, horizontal=True, help=words, **URL)
            for key, (label, options, words) in _CHOICES.items()
        }
    return ViewSettings(
        convention="paper" if chosen["convention"] == "paper" else "exact",
        flops=chosen["cost_unit"] == "FLOPs",
        byte_unit=str(chosen["memory_unit"]),
        per_layer=chosen["bars"] == "per layer",
        log=log,
    )
