"""The network as bars."""

from __future__ import annotations

import pytest

from asi_core.figures.network import FROZEN, TRAINED, NetworkLayer, draw_network
from asi_core.units import KIB, MIB

LAYERS = [NetworkLayer("stem", 4 * KIB, False), NetworkLayer("head", KIB, True)]


def test_trained_layers_are_in_colour_in_forward_order() -> None:
    trained, frozen, columns = draw_network(LAYERS, title="The network")["data"]
    assert (trained["x"], trained["y"]) == ([2], [1])
    assert (frozen["x"], frozen["y"]) == ([1], [4])
    # What is clicked, however short a layer's own bar is.
    assert (columns["x"], columns["y"], columns["customdata"]) == ([1, 2], [4, 4], [0, 1])
    assert (trained["marker"]["color"], frozen["marker"]["color"]) == (TRAINED, FROZEN)
    assert trained["name"] == "trained: 1\u202fKiB kept"
    assert "it would keep 4\u202fKiB" in columns["hovertext"][0]


@pytest.mark.parametrize(("kept", "unit"), [(9 * MIB, "KiB"), (10 * MIB, "MiB")])
def test_the_unit_follows_the_largest_layer(kept: int, unit: str) -> None:
    layout = draw_network([NetworkLayer("stem", kept, True)], title="")["layout"]
    assert layout["yaxis"]["title"]["text"] == unit
    assert layout["yaxis"].get("type") != "log"
