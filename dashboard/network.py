"""The network as a picture in which a click trains a layer, or stops training it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st

from asi_core.costs.accounting import step_cost
from asi_core.figures.network import NetworkLayer, draw_network
from asi_core.figures.style import Drawing
from asi_core.methods import Vanilla
from asi_core.records import Convention
from asi_core.zoo.shapes import tabled_sizes, trained_layer_shapes
from dashboard.frame import figure
from dashboard.setup import Setup

_CHANGED = "network-changed"
_CAPTION = (
    "By formula: the whole input of each layer that can be trained, as plain back-propagation "
    "keeps it. A click on a layer trains it and all layers after it; a click on the first trained "
    "one stops training it. The slider “Trained layers” does the same."
)


@dataclass(frozen=True, slots=True)
class LastLayers:
    """The choice of trained layers: the last `trained` of `count`, by their places from 0."""

    count: int
    trained: int

    def __contains__(self, place: int) -> bool:
        return self.count - self.trained <= place < self.count

    def after_click(self, place: int) -> LastLayers:
        """The choice after a click on a layer; at least one layer stays trained."""
        from_here = self.count - place
        is_first = from_here == self.trained
        return LastLayers(self.count, max(1, from_here - is_first))


def network_picture(setup: Setup, *, key: str, convention: Convention = "exact") -> None:
    """Draw the network, unless its shapes at this size are not known. A click changes the setup,
    and with it the address."""
    if setup.tokens is None and setup.image_size not in tabled_sizes(setup.card):
        return
    choice = LastLayers(setup.card.layer_count, min(setup.layers, setup.card.layer_count))
    size = tuple(setup.size.items())
    figure(
        _drawn(setup.model, choice, setup.batch_size, size, convention),
        key=key,
        caption=_CAPTION,
        on_click=_chooser(choice),
    )
    if st.session_state.pop(_CHANGED, False):
        # The boxes of the setup lie outside of the fragment around this figure.
        st.rerun()


def _chooser(choice: LastLayers) -> Callable[[dict[str, Any]], None]:
    def choose(point: dict[str, Any]) -> None:
        place = point.get("customdata")
        if isinstance(place, int) and 0 <= place < choice.count:
            st.session_state["layers"] = choice.after_click(place).trained
            st.session_state[_CHANGED] = True

    return choose


@lru_cache(maxsize=64)
def _drawn(
    model: str,
    choice: LastLayers,
    batch_size: int,
    size: tuple[tuple[str, int], ...],
    convention: Convention,
) -> Drawing:
    """The figure; it is cached and must not be changed."""
    shapes = trained_layer_shapes(model, choice.count, batch_size, **dict(size))
    cost = step_cost(shapes, Vanilla(), convention)
    layers = [
        NetworkLayer(layer.shape.name, layer.activation_bytes, place in choice)
        for place, layer in enumerate(cost.layers)
    ]
    return draw_network(layers, title=f"The network: {choice.trained} of {choice.count} trained")
