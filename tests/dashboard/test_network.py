"""The choice of trained layers by clicks on the network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.network import LastLayers


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.data())
def test_a_click_trains_from_there_on_or_stops_training(
    sizes: tuple[int, int], data: st.DataObject
) -> None:
    choice = LastLayers(*sizes)
    place = data.draw(st.integers(0, choice.count - 1))
    after = choice.after_click(place)
    trained = {p for p in range(choice.count) if p in after}
    assert max(trained) == choice.count - 1
    was_first = place == choice.count - choice.trained
    if was_first and choice.trained > 1:
        assert place not in trained
        assert len(trained) == choice.trained - 1
    else:
        assert min(trained) == place
