from __future__ import annotations

from collections.abc import Callable
from math import log10

import numpy as np
import plotly.graph_objects as go
import pytest

from asi_core.figures.curves import RunRows, plot_memory
from asi_core.figures.lessons.guess import (
    GUESS,
    TRUTH,
    plot_guess,
    plot_guessed_rank,
    plot_guessed_ratio,
)
from asi_core.figures.lessons.low_rank import ModeCut, plot_mode_energy, plot_picture
from asi_core.figures.lessons.memory import (
    LayerBytes,
    plot_categories,
    plot_growth,
    plot_layers,
)
from asi_core.figures.lessons.trade_offs import plot_budget, plot_rank_ratios
from asi_core.figures.lessons.warm_start import plot_overheads, plot_replay, plot_turning
from asi_core.figures.pareto import ParetoRow
from asi_core.figures.plan import KeptRow, plot_kept
from asi_core.figures.style import STYLES
from asi_core.units import KIB, MIB


def named(figure: go.Figure, start: str) -> go.Scatter:
    """The trace whose name starts with `start`."""
    return next(trace for trace in figure.data if (trace.name or "").startswith(start))


@pytest.mark.parametrize(("guess", "truth"), [(60, 25.4), (0, -1.5), (100, 100)])
def test_a_ruler_marks_guess_and_truth(guess: float, truth: float) -> None:
    figure = plot_guess(guess, truth, title="Both", unit="%", span=(0, 100))
    for name, value, color in (("your guess", guess, GUESS), ("the truth", truth, TRUTH)):
        mark = named(figure, name)
        assert mark.x == (value,)
        assert mark.marker.color == color
        assert mark.text[0].endswith("%")
    low, high = figure.layout.xaxis.range
    assert low < min(truth, 0)
    assert high > 100


def test_a_ratio_is_drawn_in_bytes() -> None:
    figure = plot_guessed_ratio(2, 8, 3 * MIB, base_name="weights")
    bars = {bar.name: bar.x[0] for bar in figure.data}
    assert bars == {"weights": 3, "your guess": 6, "the truth": 24}
    assert "8" in named(figure, "the truth").text[0]


def test_a_rank_is_marked_at_the_energy_that_it_holds() -> None:
    figure = plot_guessed_rank([9.0, 3.0, 3.0, 1.0], 3, 1, 0.8)
    assert named(figure, "energy explained").y == pytest.approx((81, 90, 99, 100))
    for name, rank, held in (("your guess", 3, 99), ("the truth", 1, 81)):
        mark = named(figure, name)
        assert mark.x == (rank, rank)
        assert mark.y[1] == pytest.approx(held)
    assert figure.layout.shapes[0].y0 == 80


def test_layers_are_pairs_of_bars() -> None:
    figure = plot_layers([LayerBytes("first", KIB, 4 * KIB), LayerBytes("second", 2 * KIB, KIB)])
    assert named(figure, "weights").y == (1, 2)
    assert named(figure, "kept inputs").y == (4, 1)
    assert [row[0] for row in named(figure, "weights").customdata] == ["first", "second"]
    assert "KiB" in figure.layout.yaxis.title.text


def test_growth_marks_the_chosen_batch() -> None:
    figure = plot_growth([1, 2, 4], [MIB, 2 * MIB, 4 * MIB], 8 * MIB, 2)
    assert named(figure, "kept inputs").y == (1, 2, 4)
    assert named(figure, "weights").y == (8, 8, 8)
    mark = named(figure, "batch 2")
    assert (mark.x, mark.y) == ((2,), (2,))
    assert "0.25" in mark.name


def test_kinds_without_bytes_are_left_out() -> None:
    figure = plot_categories(
        {"Vanilla": {"inputs": 2 * MIB, "pooling": 0}, "ASI": {"inputs": 0, "head": MIB}}
    )
    assert {trace.name: trace.x for trace in figure.data} == {"inputs": (2, 0), "head": (0, 1)}
    assert all(trace.y == ("Vanilla", "ASI") for trace in figure.data)


def test_modes_are_cut_where_they_reach_the_share() -> None:
    modes = [ModeCut("batch", 2, [3.0, 1.0], 1), ModeCut("channel", 3, [2.0, 2.0, 1.0], 2)]
    figure = plot_mode_energy(modes, 0.85)
    assert named(figure, "batch").y == pytest.approx((90, 100))
    assert named(figure, "channel").y == pytest.approx((400 / 9, 800 / 9, 100))
    cuts = {
        trace.uid: (trace.x[0], trace.y[0]) for trace in figure.data if trace.uid[-4:] == "-cut"
    }
    assert cuts["batch-cut"] == (1, pytest.approx(90))
    assert cuts["channel-cut"] == (2, pytest.approx(800 / 9))
    assert named(figure, "channel").name == "channel: 2 of 3"
    assert figure.layout.shapes[0].y0 == 85
    probes = {(trace.line.color, trace.line.dash) for trace in figure.data if trace.mode == "lines"}
    assert len(probes) == 2


def test_pictures_stand_upright_side_by_side() -> None:
    picture = np.arange(6.0).reshape(2, 3)
    figure = plot_picture(picture.tolist(), (picture / 2).tolist(), 1)
    left, right = figure.data
    np.testing.assert_array_equal(left.z, picture)
    np.testing.assert_array_equal(right.z, picture / 2)
    assert (left.zmin, left.zmax) == (right.zmin, right.zmax) == (0, 255)
    assert figure.layout.yaxis.autorange == figure.layout.yaxis2.autorange == "reversed"
    assert (figure.layout.yaxis.scaleanchor, figure.layout.yaxis2.scaleanchor) == ("x", "x2")
    assert figure.layout.annotations[1].text == "rank 1"


def test_a_replay_ends_at_the_present_step_on_axes_that_stay() -> None:
    arguments = ([1, 30, 60], [0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
    early, late = plot_replay(*arguments, 30), plot_replay(*arguments, 60)
    assert named(early, "ASI").x == (1, 30)
    assert named(early, "ASI").y == (50, 60)
    assert named(late, "HOSVD").y == (60, 70, 80)
    assert early.layout.xaxis.range == late.layout.xaxis.range
    assert early.layout.yaxis.range == late.layout.yaxis.range
    assert named(early, "ASI").line.color == STYLES["asi"].color


def test_a_rotating_subspace_is_followed_in_three_styles() -> None:
    figure = plot_turning([0.5, 0.6], [0.4, 0.5], [0.1, 0.2])
    assert named(figure, "singular").y == (50, 60)
    assert named(figure, "warm").y == (40, 50)
    assert named(figure, "cold").y == (10, 20)
    assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data}) == 3


def test_overheads_are_set_against_the_vanilla_step() -> None:
    figure = plot_overheads([("ASI", "asi", 10**8), ("HOSVD", "hosvd", 4 * 10**9)], 2 * 10**9)
    assert (named(figure, "ASI").y, named(figure, "HOSVD").y) == ((0.1,), (4,))
    assert named(figure, "whole step").y == (2, 2)
    assert "0.05" in named(figure, "ASI").hovertemplate


@pytest.mark.parametrize(
    "plot",
    [
        lambda **log: plot_layers([LayerBytes("first", KIB, 4 * KIB)], **log),
        lambda **log: plot_growth([1, 2], [MIB, 2 * MIB], MIB, 2, **log),
        lambda **log: plot_guessed_ratio(2, 8, MIB, base_name="weights", **log),
        lambda **log: plot_overheads([("ASI", "asi", 10**8)], 10**9, **log),
        lambda **log: plot_kept([KeptRow("first", 4096, 1024, None)], **log),
        lambda **log: plot_memory([RunRows("ASI", "asi")], **log),
    ],
    ids=["layers", "growth", "guess", "overheads", "plan", "train"],
)
def test_bars_are_linear_unless_log_is_asked_for(plot: Callable[..., go.Figure]) -> None:
    linear, log = plot().layout, plot(log=True).layout
    assert "log" not in (linear.xaxis.type, linear.yaxis.type)
    assert "log" in (log.xaxis.type, log.yaxis.type)
    assert any("log scale" in (axis.title.text or "") for axis in (log.xaxis, log.yaxis))
    assert linear.uirevision != log.uirevision


def row(accuracy: float, cost: float) -> ParetoRow:
    return ParetoRow("k", "ASI, 80 % variance", "0.8", "asi", accuracy, cost)


def test_a_budget_is_a_line_with_the_best_that_fits_marked() -> None:
    rows = [row(0.8, MIB), row(0.9, 4 * MIB)]
    figure = plot_budget(rows, 2 * MIB, rows[0], "inputs kept (formula)")
    assert figure.layout.shapes[-1].x0 == 2
    label = figure.layout.annotations[-1]
    assert label.x == pytest.approx(log10(2))
    assert "2" in label.text
    mark = named(figure, "the best that fits")
    assert (mark.x, mark.y) == ((1,), (80,))
    nothing = plot_budget(rows, KIB, None, "inputs kept (formula)")
    assert all(trace.name != "the best that fits" for trace in nothing.data)


def test_ratios_are_lines_over_the_rank() -> None:
    ratios = [("bytes", "asi", [0.1, 0.2]), ("multiplies", "hosvd", [2.0, 3.0])]
    figure = plot_rank_ratios([1, 2], ratios, 2)
    assert named(figure, "bytes").y == (0.1, 0.2)
    assert named(figure, "multiplies").y == (2.0, 3.0)
    assert named(figure, "bytes").line.dash != named(figure, "multiplies").line.dash
    assert {shape.x0 for shape in figure.layout.shapes} >= {2}
