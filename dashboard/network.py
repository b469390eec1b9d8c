"""The network as a picture in which a click trains a layer, or stops training it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import streamlit as st

from asi_core.costs.accounting import step_cost
from asi_core.errors import InvalidInput
from asi_core.figures.network import NetworkLayer, draw_network
from asi_core.figures.style import Drawing
from asi_core.layers.patterns import ALL
from asi_core.methods import Vanilla
from asi_core.records import Convention
from asi_core.zoo.shapes import tabled_sizes, trained_layer_shapes
from dashboard.controls import LAYER_NAMES_KEY
from dashboard.frame import figure
from dashboard.links import put
from dashboard.setup import Setup

_CHANGED = "network-changed"
_CAPTION = (
    "By formula: the whole input of each layer that can be trained, as plain back-propagation "
    "keeps it. A click on a layer trains it, and a click on a trained one stops training it. The "
    "slider “Trained layers” chooses the last ones."
)


@dataclass(frozen=True, slots=True)
class ChosenLayers:
    """Which of a network's layers are trained.

    Attributes:
        names: of all layers that can be trained, in forward order.
    """

    names: tuple[str, ...]
    trained: frozenset[str]

    def after_click(self, place: int) -> ChosenLayers:
        """The choice after a click on a layer; at least one layer stays trained."""
        after = self.trained ^ {self.names[place]}
        return ChosenLayers(self.names, after or self.trained)

    @property
    def as_text(self) -> str:
        """The names of the trained layers, as `controls.LAYER_NAMES_KEY` takes them."""
        return " ".join(dict.fromkeys(name for name in self.names if name in self.trained))


def network_picture(setup: Setup, *, key: str, convention: Convention = "exact") -> None:
    """Draw the network, unless its shapes at this size or the layers by name are not known. A click
    changes the setup, and with it the address."""
    if setup.tokens is None and setup.image_size not in tabled_sizes(setup.card):
        return
    size = tuple(setup.size.items())
    try:
        choice = _choice(setup, **setup.size)
    except InvalidInput:
        # The page tells it.
        return
    figure(
        _drawn(setup.model, choice.trained, setup.batch_size, size, convention),
        key=key,
        caption=_CAPTION,
        on_click=_chooser(setup, choice),
    )
    if st.session_state.pop(_CHANGED, False):
        # The boxes of the setup lie outside of the fragment around this figure.
        st.rerun()


def _choice(setup: Setup, **size: int) -> ChosenLayers:
    def names(layers: int | str) -> list[str]:
        shapes = trained_layer_shapes(setup.model, layers, setup.batch_size, **size)
        return [shape.name for shape in shapes]

    return ChosenLayers(tuple(names(ALL)), frozenset(names(setup.layers)))


def _chooser(setup: Setup, choice: ChosenLayers) -> Callable[[dict[str, Any]], None]:
    def choose(point: dict[str, Any]) -> None:
        place = point.get("customdata")
        if not (isinstance(place, int) and 0 <= place < len(choice.names)):
            return
        after = choice.after_click(place)
        count = len(after.trained)
        last = _choice(replace(setup, layers=count), **setup.size)
        is_last = after.trained == last.trained
        if is_last:
            put("layers", count)
        put(LAYER_NAMES_KEY, "" if is_last else after.as_text)
        st.session_state[_CHANGED] = True

    return choose


@lru_cache(maxsize=64)
def _drawn(
    model: str,
    trained: frozenset[str],
    batch_size: int,
    size: tuple[tuple[str, int], ...],
    convention: Convention,
) -> Drawing:
    """The figure; it is cached and must not be changed."""
    shapes = trained_layer_shapes(model, ALL, batch_size, **dict(size))
    cost = step_cost(shapes, Vanilla(), convention)
    layers = [
        NetworkLayer(layer.shape.name, layer.activation_bytes, layer.shape.name in trained)
        for layer in cost.layers
    ]
    return draw_network(layers, title=f"The network: {len(trained)} of {len(layers)} trained")
