from __future__ import annotations

from collections.abc import Callable
from math import log10

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as given_by

from asi_core.figures.curves import RunRows, plot_memory
from asi_core.figures.equal_memory import PricedCurve, PricedPoint
from asi_core.figures.lessons.alternatives import plot_needs
from asi_core.figures.lessons.guess import (
    GUESS,
    TRUTH,
    guess_bars,
    plot_guess,
    plot_guessed_rank,
    plot_guessed_ratio,
    plot_guesses,
)
from asi_core.figures.lessons.low_rank import ModeCut, plot_mode_energy, plot_picture
from asi_core.figures.lessons.memory import (
    LayerBytes,
    plot_growth,
    plot_layers,
)
from asi_core.figures.lessons.trade_offs import plot_depths, plot_rank_ratios
from asi_core.figures.lessons.warm_start import plot_overheads, plot_replay, plot_turning
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
        lambda **log: depths(**log),
    ],
    ids=["layers", "growth", "guess", "overheads", "plan", "train", "depths"],
)
def test_bars_are_linear_unless_log_is_asked_for(plot: Callable[..., go.Figure]) -> None:
    linear, log = plot().layout, plot(log=True).layout
    assert "log" not in (linear.xaxis.type, linear.yaxis.type)
    assert "log" in (log.xaxis.type, log.yaxis.type)
    assert any("log scale" in (axis.title.text or "") for axis in (log.xaxis, log.yaxis))
    assert linear.uirevision != log.uirevision


CURVE = PricedCurve(
    "ASI, 80 % variance",
    "asi",
    (PricedPoint("1 layer", 0.8, MIB), PricedPoint("2 layers", 0.9, 4 * MIB)),
)


def depths(chosen: PricedPoint | None = None, **log: bool) -> go.Figure:
    return plot_depths(
        [CURVE], 0.7, 2 * MIB, "budget 2 MiB", chosen=chosen, memory="inputs kept", **log
    )


def test_depths_are_a_line_with_the_probe_and_the_best_that_fits() -> None:
    figure = depths(CURVE.points[0])
    assert (named(figure, "ASI").x, named(figure, "ASI").y) == ((1, 4), (80, 90))
    assert {shape.y0 for shape in figure.layout.shapes} >= {70}
    assert {shape.x0 for shape in figure.layout.shapes} >= {2}
    assert "70" in figure.layout.annotations[0].text
    mark = named(figure, "the best that fits")
    assert (mark.x, mark.y) == ((1,), (80,))
    assert all(trace.name != "the best that fits" for trace in depths().data)


@pytest.mark.parametrize(("log", "place"), [(False, 2), (True, log10(2))])
def test_a_mark_is_placed_as_the_axis_wants_it(log: bool, place: float) -> None:
    assert depths(log=log).layout.annotations[-1].x == pytest.approx(place)


def test_needs_are_a_line_for_each_method() -> None:
    figure = plot_needs([64, 8], [("Vanilla", "vanilla", [4 * MIB, MIB])], 8)
    assert (named(figure, "Vanilla").x, named(figure, "Vanilla").y) == ((64, 8), (4, 1))
    assert figure.layout.shapes[0].x0 == 8
    assert figure.layout.xaxis.ticktext == ("8", "64")
    assert figure.layout.yaxis.rangemode == "tozero"
    assert plot_needs([64, 8], [], 8, log=True).layout.yaxis.type == "log"


@given(
    given_by.lists(given_by.floats(-5, 15), max_size=40),
    given_by.sampled_from([((-5.0, 15.0), 0.1), ((-5.0, 15.0), 1.0), ((-5.0, 15.0), 0.25)]),
)
def test_each_guess_is_in_the_bar_that_says_so(
    guesses: list[float], asked: tuple[tuple[float, float], float]
) -> None:
    span, step = asked
    bars = guess_bars(guesses, span, step)
    assert len(bars) <= 25
    assert (bars[0].low, bars[-1].high) == (span[0], pytest.approx(span[1]))
    widths = [bar.high - bar.low + step for bar in bars]
    assert all(0.49 < width / widths[0] < 1.51 for width in widths)
    near = step * 0.501
    # Independent: a guess between two bars may be in either.
    for bar in bars:
        inside = [g for g in guesses if bar.low - step / 2 < g < bar.high + step / 2]
        sure = [g for g in guesses if bar.low - step + near < g < bar.high + step - near]
        assert (
            len(sure)
            <= bar.count
            <= len(inside)
            + sum(
                abs(g - bar.low + step / 2) < 1e-6 or abs(g - bar.high - step / 2) < 1e-6
                for g in guesses
            )
        )
    assert sum(bar.count for bar in bars) == len(guesses)


def test_guesses_are_bars_and_the_truth_is_a_line_when_it_is_told() -> None:
    how = {"unit": "×", "span": (1, 100), "step": 1}
    hidden = plot_guesses([1, 2, 2, 100], None, **how)
    assert sum(hidden.data[0].y) == 4
    assert hidden.data[0].customdata[0].endswith(": 3")
    assert not hidden.layout.shapes
    # Also where nobody can guess it.
    told = plot_guesses([], 140, **how)
    assert told.layout.shapes[0].x0 == 140
    assert told.layout.xaxis.range[1] > 140
    assert "140" in told.layout.annotations[0].text


def test_ratios_are_lines_over_the_rank() -> None:
    ratios = [("bytes", "asi", [0.1, 0.2]), ("multiplies", "hosvd", [2.0, 3.0])]
    figure = plot_rank_ratios([1, 2], ratios, 2)
    assert named(figure, "bytes").y == (0.1, 0.2)
    assert named(figure, "multiplies").y == (2.0, 3.0)
    assert named(figure, "bytes").line.dash != named(figure, "multiplies").line.dash
    assert {shape.x0 for shape in figure.layout.shapes} >= {2}
