"""Curves over the number of trained layers."""

from __future__ import annotations

import pytest

from asi_core.figures.study import DepthCurve, DepthPoint, plot_over_depth

VANILLA = DepthCurve(
    "Vanilla", "vanilla", (DepthPoint(1, 0.6, 0.01, 2048.0), DepthPoint(4, 0.7, None, 8192.0))
)
ASI = [
    DepthCurve(label, "asi", (DepthPoint(1, 0.6, 0.01, 64.0), DepthPoint(4, 0.69, 0.02, 256.0)))
    for label in ("ASI, 80 % variance", "ASI, 80 % variance, 8 bits")
]


def test_one_line_per_method_in_the_unit_of_the_axis() -> None:
    figure = plot_over_depth(
        [VANILLA, *ASI], head=0.58, title="t", price="by formula", unit="KiB", scale=1024
    )
    assert [trace.name for trace in figure.data] == [c.label for c in (VANILLA, *ASI)]
    assert list(figure.data[0].x) == [2, 8]
    assert list(figure.data[0].y) == pytest.approx([60, 70])
    assert list(figure.data[0].error_y.array) == pytest.approx([1, 0])
    assert figure.layout.xaxis.title.text == "by formula, KiB, log scale"
    assert "linear probe: 58" in figure.layout.annotations[0].text


def test_settings_of_one_method_share_its_colour_and_differ_otherwise() -> None:
    _, first, second = plot_over_depth(
        [VANILLA, *ASI], head=None, title="t", price="p", unit="KiB"
    ).data
    assert first.line.color == second.line.color
    assert (first.line.dash, first.marker.symbol) != (second.line.dash, second.marker.symbol)


def test_a_point_shows_its_layers_and_spread() -> None:
    (trace,) = plot_over_depth(
        [VANILLA], head=None, title="t", price="p", unit="KiB", scale=1024
    ).data
    assert "1 layer<br>60.0 ± 1.0" in trace.hovertext[0]
    assert "4 layers<br>70.0" in trace.hovertext[1]
    assert "±" not in trace.hovertext[1]
