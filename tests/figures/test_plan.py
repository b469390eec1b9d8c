from __future__ import annotations

import pytest

from asi_core.figures.plan import ErrorPoint, KeptRow, plot_error_curve, plot_kept
from asi_core.figures.style import STYLES

ROWS = [KeptRow("first", 4096, 1024, 2048), KeptRow("second", 8192, 8192, 512)]
PLANNED = [ErrorPoint(1024, 3.0, "small"), ErrorPoint(10240, 0.0, "large")]
UNIFORM = [ErrorPoint(2048, 3.5, "0.4 explained")]


def test_every_layer_has_a_bar_of_each_kind_in_kibibytes() -> None:
    figure = plot_kept(ROWS)
    bars = {bar.name: bar for bar in figure.data}
    assert set(bars) == {"vanilla", "ASI, same variance", "ASI, planned"}
    assert list(bars["vanilla"].x) == [4, 8]
    assert list(bars["ASI, planned"].x) == [1, 8]
    assert list(bars["ASI, same variance"].x) == [2, 0.5]
    assert list(bars["vanilla"].y) == ["first", "second"]
    assert bars["vanilla"].marker.color == STYLES["vanilla"].color
    assert bars["ASI, planned"].marker.color == STYLES["asi"].color
    assert "4\u202f× less than vanilla" in bars["ASI, planned"].customdata[0]
    assert "kept in full" in bars["ASI, planned"].customdata[1]


def test_the_shortest_bar_is_seen_on_a_log_axis() -> None:
    figure = plot_kept(ROWS, log=True)
    assert figure.layout.xaxis.type == "log"
    low, high = figure.layout.xaxis.range
    assert 10**low < 0.5
    assert 10**high > 8


def test_without_a_uniform_choice_there_are_two_kinds_of_bars() -> None:
    figure = plot_kept([KeptRow("first", 4096, 1024, None)])
    assert [bar.name for bar in figure.data] == ["vanilla", "ASI, planned"]


def test_many_layers_make_a_taller_figure() -> None:
    assert plot_kept(ROWS * 10).layout.height > plot_kept(ROWS).layout.height + 500


def test_the_curve_marks_the_budget_and_the_plan() -> None:
    figure = plot_error_curve(PLANNED, UNIFORM, 2048, PLANNED[0])
    planned, uniform, chosen = figure.data
    assert list(planned.x) == [1, 10]
    assert list(planned.y) == [3.0, 0.0]
    assert (list(uniform.x), list(uniform.y)) == ([2], [3.5])
    assert (list(chosen.x), list(chosen.y)) == ([1], [3.0])
    assert chosen.mode == "markers"
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == pytest.approx(2)
    assert figure.layout.xaxis.type == "log"
    assert planned.line.dash != uniform.line.dash, "it is readable without colours"
    assert "small<br>keeps 1\u202fKiB, gradient error 3" in planned.customdata[0]


def test_where_nothing_fits_only_the_line_is_drawn() -> None:
    figure = plot_error_curve(PLANNED, UNIFORM, 512, None)
    assert len(figure.data) == 2
    assert len(figure.layout.shapes) == 1
