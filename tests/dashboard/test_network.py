"""The choice of trained layers by clicks on the network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.network import ChosenLayers

NAMES = tuple(f"features.{number}" for number in range(8))


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(0, len(NAMES) - 1))
def test_a_click_trains_a_layer_or_stops_training_it(trained: set[str], place: int) -> None:
    choice = ChosenLayers(NAMES, frozenset(trained))
    after = choice.after_click(place)
    changed = choice.trained ^ after.trained
    if trained == {NAMES[place]}:
        assert after == choice, "one layer stays trained"
    else:
        assert changed == {NAMES[place]}
        assert after.after_click(place) == choice
    assert after.as_text.split() == [name for name in NAMES if name in after.trained]
