"""The data sent to the browser; tests/browser/test_live_chart.py tests the chart itself."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from asi_core.errors import InvalidInput
from asi_core.figures.style import DARK_COLORS, FROZEN, STYLES
from dashboard.live_chart import MOST_POINTS, chart_data

ROOT = Path(__file__).parents[2]


def sent(figure: go.Figure, height: int | None = None) -> dict[str, Any]:
    """The message as the browser reads it; fails if it is not JSON."""
    data = chart_data(figure, height, selectable=False)
    return dict(json.loads(json.dumps(data, allow_nan=False)))


def values(array: Any) -> list[Any]:
    """A list, or an array that plotly has packed as base64, as a list."""
    if isinstance(array, list):
        return array
    packed = np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    return list(packed.tolist())


def test_numbers_that_json_does_not_know_become_null() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2, 3, 4], y=[0.5, float("nan"), float("inf"), None]))
    assert sent(figure)["traces"][0]["y"] == [0.5, None, None, None]


@pytest.mark.parametrize("kind", ["float64", "float32", "int32", "int64"])
def test_arrays_arrive_with_their_values(kind: str) -> None:
    array = np.array([3, 1, 2], dtype=kind)
    trace = sent(go.Figure(go.Bar(x=array, y=array, customdata=np.array(["a", "b", "c"]))))
    assert values(trace["traces"][0]["y"]) == [3, 1, 2]
    assert values(trace["traces"][0]["customdata"]) == ["a", "b", "c"]


def test_the_figure_is_sent_without_its_template_and_stays_as_it_is() -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="<b>name</b>"), {"title": {"text": "A & B"}})
    before = figure.to_json()
    message = sent(figure)
    assert figure.to_json() == before
    assert len(figure.layout.template.to_plotly_json()["layout"]) > 0
    assert message["layout"] == {"title": {"text": "A & B"}}
    assert message["traces"] == [{"type": "scatter", "x": [1], "y": [2], "name": "<b>name</b>"}]
    assert len(json.dumps(message)) < 300


@pytest.mark.parametrize(
    ("given", "own", "expected"), [(200, 300, 200), (None, 300, 300), (None, None, 340)]
)
def test_height(given: int | None, own: int | None, expected: int) -> None:
    assert sent(go.Figure(layout={"height": own}), given)["height"] == expected


def test_the_number_of_points_is_bounded() -> None:
    most = list(range(MOST_POINTS))
    assert len(sent(go.Figure(go.Scatter(y=most)))["traces"][0]["y"]) == MOST_POINTS
    for trace in (go.Scatter(y=[*most, 0]), go.Scatter(x=np.zeros(MOST_POINTS + 1), y=[1])):
        with pytest.raises(InvalidInput, match=f"at most {MOST_POINTS} points per trace, got 5001"):
            chart_data(go.Figure([go.Bar(y=[1]), trace]), None, selectable=False)


def test_traces_without_axes_and_images_are_drawn() -> None:
    figure = go.Figure([go.Pie(values=[1, 2]), go.Heatmap(z=np.ones((100, 100)))])
    assert len(sent(figure)["traces"]) == 2


def page() -> None:
    import plotly.graph_objects as go
    import streamlit as st

    from dashboard.live_chart import live_chart

    figure = go.Figure(go.Scatter(x=[1], y=[2]))
    st.text(str(live_chart(figure, key="silent")))
    st.text(str(live_chart(figure, key="asking", on_select=lambda: None)))


def test_a_page_gets_no_points_before_any_is_selected() -> None:
    # Twice: the second time, the component is registered with another server.
    for _ in range(2):
        test = AppTest.from_function(page, default_timeout=180).run()
        assert not test.exception
        assert [text.value for text in test.text] == ["None", "[]"]


def test_scripts_go_by_address_and_not_with_every_message() -> None:
    for chart in AppTest.from_function(page, default_timeout=180).run().get("bidi_component"):
        assert chart.proto.js_source_path == "live_chart.js"
        assert chart.proto.css_source_path == "live_chart.css"
        assert chart.proto.js_content == chart.proto.css_content == chart.proto.html_content == ""
        assert not chart.proto.isolate_styles
        assert json.loads(chart.proto.json)["traces"] == [{"type": "scatter", "x": [1], "y": [2]}]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours in hexadecimal."""
    luminances = []
    for color in (one, other):
        channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        luminances.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


@pytest.mark.parametrize("style", STYLES)
def test_every_method_is_seen_on_both_backgrounds(style: str) -> None:
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
    color = STYLES[style].color
    in_the_dark = DARK_COLORS.get(color, color)
    assert contrast(in_the_dark, theme["dark"]["backgroundColor"]) >= 3
    # The linear probe's style is meant to be pale.
    assert contrast(color, theme["light"]["backgroundColor"]) >= (2.5 if style == "head" else 3)


def test_colours_for_the_dark_are_named_as_the_browser_looks_them_up() -> None:
    assert all(color == color.upper() for color in DARK_COLORS)
    assert set(DARK_COLORS) <= {style.color for style in STYLES.values()} | {FROZEN}


@pytest.mark.parametrize(("count", "shown"), [(10, None), (11, False)])
def test_a_legend_has_at_most_ten_entries(count: int, shown: bool | None) -> None:
    figure = go.Figure([go.Scatter(x=[1], y=[1], name=str(n)) for n in range(count)])
    figure.add_trace(go.Scatter(x=[1], y=[1], name="hidden", showlegend=False))
    assert chart_data(figure, None, selectable=False)["layout"].get("showlegend") is shown
