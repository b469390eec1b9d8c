from __future__ import annotations

import plotly.graph_objects as go

from asi_core.figures.curves import RunRows, plot_accuracy
from asi_core.figures.shades import shaded
from asi_core.figures.style import STYLES

STYLE_OF = {"A": "asi", "B": "vanilla", "C": "asi", "D": "asi"}


def drawn(groups: list[str]) -> go.Figure:
    evaluations = [{"step": 1, "accuracy": 0.5, "loss": 1.0}]
    styles = [STYLE_OF[group] for group in groups]
    rows = [RunRows(str(i), style, [], evaluations) for i, style in enumerate(styles)]
    return shaded(plot_accuracy(rows), styles, groups)


def test_groups_of_one_method_differ_and_the_first_keeps_its_style() -> None:
    traces = drawn(["A", "B", "C", "D"]).data
    assert traces[0].line.color == STYLES["asi"].color
    assert traces[1].line.color == STYLES["vanilla"].color
    mine = [traces[i] for i in (0, 2, 3)]
    assert len({trace.line.color for trace in mine}) == 3
    assert len({(trace.line.dash, trace.marker.symbol) for trace in mine}) == 3


def test_a_group_has_one_style_and_one_legend_entry() -> None:
    traces = drawn(["A", "C", "C", "A"]).data
    assert [trace.showlegend for trace in traces] == [True, True, False, False]
    assert [trace.name for trace in traces] == ["A", "C", "C", "A"]
    assert traces[1].line.color == traces[2].line.color != traces[0].line.color
    assert drawn(["A", "B", "C", "D"]).layout.height > drawn(["A", "A", "A"]).layout.height
