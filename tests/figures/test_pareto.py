from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.figures.pareto import ParetoRow, plot_pareto, undominated
from asi_core.figures.style import STYLES
from asi_core.records import HEAD_KIND

# Few values, so that ties are frequent.
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(points)
def test_the_front_is_what_brute_force_finds(points: list[tuple[int, int]]) -> None:
    found = undominated([cost for cost, _ in points], [gain for _, gain in points])
    assert found == [not any(dominates(other, point) for other in points) for point in points]


def row(key: str, style: str, accuracy: float, cost: float, deviation: float = 0.0) -> ParetoRow:
    label = f"{style.title()}, {key}"
    return ParetoRow(key, label, key, style, accuracy, cost, deviation or None, deviation or None)


ROWS = [
    row("head", HEAD_KIND, 0.80, 0.0),
    row("full", "vanilla", 0.90, 1024.0),
    row("good", "asi", 0.89, 128.0, deviation=0.01),
    row("small", "asi", 0.85, 16.0),
    row("bad", "asi", 0.84, 64.0),
    row("worse", "hosvd", 0.80, 512.0),
]


def trace(rows: Sequence[ParetoRow], uid: str):  # type: ignore[no-untyped-def]
    (found,) = [
        t for t in plot_pareto(rows, cost="memory", unit="KiB", scale=2).data if t.uid == uid
    ]
    return found


def test_points_are_in_the_axis_units_with_their_keys() -> None:
    asi = trace(ROWS, "asi-front")
    assert list(asi.x) == [64.0, 8.0]
    assert list(asi.y) == [89.0, 85.0]
    assert list(asi.customdata) == ["good", "small"]
    assert list(asi.text) == ["good", "small"]


def test_marks_without_room_are_shown_only_on_hover() -> None:
    """The best is always marked; others if there is room."""
    ends = [row("least", "asi", 0.5, 1.0), row("best", "asi", 0.9, 1000.0)]
    close = [row(f"{n}", "asi", 0.9 - n / 1000, 1000.0 - n) for n in range(1, 9)]
    asi = trace([*ends, *close], "asi-front")
    texts = dict(zip(asi.customdata, asi.text, strict=True))
    assert {"least", "best"} <= {key for key, mark in texts.items() if mark} < set(texts)
    assert len(texts) == 10, "no point is left out"
    assert "7" in asi.hovertext[list(asi.customdata).index("7")]


Pixels = tuple[float, float, float, float]


def shown_marks(figure: go.Figure, narrow: bool, width: float, height: float) -> list[Pixels]:
    """Left, right, lower and upper end of all marks in pixels of a plot, from the figure alone."""
    xaxis, yaxis = figure.layout.xaxis, figure.layout.yaxis
    found = []
    for t in figure.data:
        changes = t.meta["narrow"]["changes"] if narrow and t.meta else {}
        texts, places = changes.get("text", t.text), changes.get("textposition", t.textposition)
        if texts is None:
            continue
        for x, y, text, place in zip(t.x, t.y, texts, places, strict=True):
            x = math.log10(x) if xaxis.type == "log" else x
            across = width * (x - xaxis.range[0]) / (xaxis.range[1] - xaxis.range[0])
            up = height * (y - yaxis.range[0]) / (yaxis.range[1] - yaxis.range[0])
            left = across + 6 if "right" in place else across - 6 - 6 * len(text)
            low = up + 6 if "top" in place else up - 6 - 15
            if text:
                found.append((left, left + 6 * len(text), low, low + 15))
    return found


def apart(one: Pixels, other: Pixels) -> bool:
    return one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]


tasks = st.lists(
    st.builds(
        row,
        key=st.sampled_from(["r 1", "80 %, 8 layers", "budget 349 KiB, 8 bits, 12 layers"]),
        style=st.sampled_from(["vanilla", "asi", "hosvd", HEAD_KIND]),
        accuracy=st.floats(0.1, 0.99),
        cost=st.floats(1, 1e7),
        deviation=st.floats(0, 0.05),
    ),
    max_size=25,
)


@given(tasks, st.booleans(), st.booleans(), st.floats(1, 4), st.floats(1, 4))
def test_marks_never_cover_each_other(
    rows: list[ParetoRow], log: bool, narrow: bool, wider: float, higher: float
) -> None:
    """At any size of the figure from the least on, wide or narrow, on both axes."""
    rows = [replace(r, key=f"{i}") for i, r in enumerate(rows)]
    figure = plot_pareto(rows, cost="memory", unit="KiB", scale=1024, log=log)
    width, height = (250, 170) if narrow else (540, 230)
    marks = shown_marks(figure, narrow, width * wider, height * higher)
    assert all(apart(one, other) for one, other in combinations(marks, 2))
    assert all(m[0] >= 0 and m[1] <= width * wider + 1 for m in marks), "none is cut off"


def test_dominated_points_are_dim_and_unmarked() -> None:
    dominated = trace(ROWS, "asi-dominated")
    assert list(dominated.customdata) == ["bad"]
    assert dominated.opacity < 0.5 < trace(ROWS, "asi-front").opacity
    assert "text" not in dominated.mode
    assert dominated.marker.color == STYLES["asi"].color
    assert dominated.marker.symbol == STYLES["asi"].symbol


def test_the_front_joins_undominated_points_by_cost() -> None:
    assert list(trace(ROWS, "front").x) == [8.0, 64.0, 512.0]


def test_each_method_is_once_in_the_legend() -> None:
    figure = plot_pareto(ROWS, cost="memory", unit="KiB")
    shown = [t.name for t in figure.data if t.legendgroup and t.showlegend]
    assert sorted(shown) == ["Asi", "Hosvd", "Vanilla"]


def test_seeds_are_error_bars_and_a_single_seed_has_none() -> None:
    asi, vanilla = trace(ROWS, "asi-front"), trace(ROWS, "vanilla-front")
    assert list(asi.error_y.array) == pytest.approx([1.0, 0.0])
    assert asi.error_y.visible
    assert not vanilla.error_y.visible
    wide = row("wide", "asi", 0.89, 10.0, deviation=20.0)
    assert not trace([wide], "asi-front").error_x.visible


def test_the_linear_probe_is_a_floor() -> None:
    figure = plot_pareto(ROWS, cost="memory", unit="KiB")
    (floor,) = figure.layout.shapes
    assert floor.y0 == floor.y1 == 80.0
    assert all("head" not in (t.customdata or ()) for t in figure.data)


def test_axes_have_units_and_the_cost_is_linear_unless_it_is_to_be_logarithmic() -> None:
    layout = plot_pareto(ROWS, cost="memory (formula)", unit="KiB").layout
    assert layout.xaxis.type is None
    assert layout.xaxis.range[0] < 0 < 1024 < layout.xaxis.range[1]
    assert layout.xaxis.title.text == "memory (formula), KiB"
    log = plot_pareto(ROWS, cost="memory (formula)", unit="KiB", log=True).layout
    assert log.xaxis.type == "log"
    assert log.xaxis.title.text == "memory (formula), KiB, log scale"
    assert log.uirevision != layout.uirevision
    assert "%" in layout.yaxis.title.text


def test_nothing_to_show_is_an_empty_figure() -> None:
    assert len(plot_pareto([], cost="memory", unit="KiB").data) == 0


def test_ticks_say_what_they_stand_for() -> None:
    near = [row("a", "asi", 0.9, 12_000.0), row("b", "vanilla", 0.9, 90_000.0)]
    axis = plot_pareto(near, cost="memory", unit="KiB", log=True).layout.xaxis
    labels = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert labels[20_000] == "20,000"
    assert min(labels) <= 12_000 < 90_000 <= max(labels)


def test_over_several_powers_of_ten_these_alone_are_ticks() -> None:
    axis = plot_pareto(ROWS, cost="memory", unit="KiB", log=True).layout.xaxis
    assert (axis.dtick, axis.tickvals) == (1, None)
