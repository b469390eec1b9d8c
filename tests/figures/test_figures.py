from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asi_core.figures import curves
from asi_core.figures.curves import RunRows, running_mean
from asi_core.figures.spectra import Cut, SpectrumRows, plot_spectra
from asi_core.figures.style import STYLES
from asi_core.methods import METHODS
from asi_core.records import HEAD_KIND
from asi_core.units import KIB

PLOTS = [
    curves.plot_accuracy,
    curves.plot_loss,
    curves.plot_memory,
    curves.plot_cost,
    curves.plot_step_time,
]


def rows(style: str, count: int = 4, kept: int = 1024) -> RunRows:
    step: dict[str, Any] = {
        "loss": 1.0,
        "activation_bytes": kept,
        "saved_bytes": 4 * kept,
        "forward_macs": 10**9,
        "overhead_macs": 10**8,
        "backward_macs": 2 * 10**9,
        "forward_seconds": 0.01,
        "backward_seconds": 0.02,
        "update_seconds": 0.001,
    }
    steps = [{**step, "step": i + 1} for i in range(count)]
    evaluations = [{"step": count, "accuracy": 0.87, "loss": 0.4}]
    return RunRows(style.title(), style, steps, evaluations)


def test_every_method_has_its_own_style() -> None:
    assert set(STYLES) >= {HEAD_KIND, *METHODS}
    assert STYLES["vanilla"].color == "#4D4D4D"
    assert STYLES["asi"].color == "#0072B2"
    assert STYLES["hosvd"].color == "#D55E00"
    assert STYLES["gradient_filter"].color == "#009E73"
    probes = list(STYLES.values())
    assert len({style.color for style in probes}) == len(probes)
    assert len({(style.dash, style.symbol) for style in probes}) == len(probes)


def test_points_of_methods_are_distinguished_without_colours() -> None:
    symbols = [method.style.symbol for method in METHODS.values() if method.style is not None]
    assert len(set(symbols)) == len(symbols) > 10


@pytest.mark.parametrize("plot", PLOTS)
def test_figures_have_titles_units_and_one_mark_per_run(plot: Any) -> None:
    figure = plot([rows("vanilla"), rows("asi")])
    assert figure.layout.title.text
    is_in_rows = figure.data[0].type == "bar"
    unit = figure.layout.xaxis if is_in_rows else figure.layout.yaxis
    assert unit.title.text
    named = figure.layout.annotations if is_in_rows else figure.data
    names = {one.text if is_in_rows else one.name for one in named}
    assert names == {"Vanilla", "Asi"}


@pytest.mark.parametrize("plot", [curves.plot_memory, curves.plot_cost, curves.plot_step_time])
@pytest.mark.parametrize("count", [1, 6, 12])
@pytest.mark.parametrize("label", ["run", "ASI, budget 349 KiB, every step, 8 bits"])
def test_a_name_stands_above_the_bars_of_its_run_and_on_none(
    plot: Any, count: int, label: str
) -> None:
    figure = plot([replace(rows("asi"), label=f"{label} {n}") for n in range(count)])
    bottom, top = figure.layout.yaxis.range
    assert top == 0
    # Pixels per unit, under a title and above an axis and a legend.
    pixels = (figure.layout.height - 44 - 80) / bottom
    size = bottom / count
    for row, name in enumerate(figure.layout.annotations):
        assert name.text.replace("<br>", " ") == f"{label} {row}"
        lines = name.text.split("<br>")
        assert max(map(len, lines)) <= 42
        bars = [(b.y[row] - b.width / 2, b.y[row] + b.width / 2) for b in figure.data[::2]]
        assert name.yanchor == "bottom"
        assert name.y < min(low for low, _ in bars)
        assert row * size < name.y - 14 * len(lines) / pixels
        assert max(high for _, high in bars) < (row + 1) * size


@pytest.mark.parametrize("plot", PLOTS)
def test_figures_of_runs_that_have_not_begun_are_empty_not_broken(plot: Any) -> None:
    assert plot([]).layout.title.text
    assert plot([RunRows("ASI", "asi")]).layout.title.text


def test_memory_is_in_kib_with_exact_hover() -> None:
    figure = curves.plot_memory([rows("asi", kept=2 * KIB)])
    assert [trace.x[0] for trace in figure.data[::2]] == [2.0, 8.0]
    assert list(figure.data[0].customdata) == ["2\u202fKiB"]


@pytest.mark.parametrize("plot", [curves.plot_memory, curves.plot_cost, curves.plot_step_time])
def test_the_legend_shows_the_shade_of_each_part(plot: Any) -> None:
    data = plot([rows("vanilla"), rows("asi")]).data
    for bars, key in zip(data[::2], data[1::2], strict=True):
        assert (bars.showlegend, key.showlegend) == (False, None)
        assert bars.legendgroup == key.legendgroup == key.name
        assert key.marker.color.endswith(f", {bars.marker.opacity})")
    assert len({key.marker.color for key in data[1::2]}) == len(data[1::2])


def test_the_parts_of_a_step_add_up_to_its_median() -> None:
    run = rows("asi", count=3)
    for row, seconds in zip(run.steps, (1.0, 2.0, 9.0), strict=True):
        row |= {"forward_seconds": seconds, "backward_seconds": seconds, "update_seconds": 0.0}
    lengths = [bars.x[0] for bars in curves.plot_step_time([run]).data[::2]]
    assert lengths == pytest.approx([2000.0, 2000.0, 0.0])
    assert curves.median_step(run.steps) == 4.0


def test_accuracy_is_in_percent() -> None:
    assert list(curves.plot_accuracy([rows("asi")]).data[0].y) == [87.0]


def test_long_curves_are_thinned() -> None:
    trace = curves.plot_loss([rows("asi", count=4000)]).data[0]
    assert 250 < len(trace.x) <= 500


def test_running_mean_is_the_mean_of_the_latest() -> None:
    values = list(np.random.default_rng(0).normal(size=40))
    expected = [float(np.mean(values[max(0, i - 14) : i + 1])) for i in range(40)]
    assert running_mean(values) == pytest.approx(expected)
    assert running_mean([]) == []


def test_spectra_show_explained_energy_and_the_cuts() -> None:
    spectrum = SpectrumRows((4, 3, 2, 2), ((2, 1, 1, 0), (2, 1, 1), (2, 1), (0, 0)))
    figure = plot_spectra(spectrum, [Cut("ASI", "asi", (2, 1, 1, 1))])
    curve = figure.data[0]
    assert list(curve.y) == pytest.approx([100 * 4 / 6, 100 * 5 / 6, 100, 100])
    cut = figure.data[1]
    assert list(cut.x) == [2, 2]
    assert cut.y[1] == pytest.approx(100 * 5 / 6)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == ["batch (4)", "channel (3)", "height (2)", "width (2)"]


def without_counts(run: RunRows) -> RunRows:
    counts = ("activation_bytes", "forward_macs", "overhead_macs", "backward_macs")
    return RunRows(run.label, run.style, [{**s, **dict.fromkeys(counts)} for s in run.steps])


@pytest.mark.parametrize(
    ("plot", "formulas"), [(curves.plot_memory, 1), (curves.plot_cost, 3)], ids=["memory", "cost"]
)
def test_a_run_without_closed_form_has_words_in_place_of_a_bar(plot: Any, formulas: int) -> None:
    figure = plot([rows("asi"), without_counts(rows("vanilla"))])
    bars = [trace for trace in figure.data if trace.x[0] is not None]
    for bar in bars[:formulas]:
        assert bar.x[0] > 0
        assert bar.x[1] is None, "0 would be a wrong number"
    # Measured values are drawn.
    assert all(bar.x[1] > 0 for bar in bars[formulas:])
    (note,) = (a for a in figure.layout.annotations if a.text == "no closed form")
    assert note.y == bars[0].y[1]


def test_a_run_before_its_first_step_has_no_bar_and_no_words() -> None:
    figure = curves.plot_cost([rows("asi"), RunRows("Vanilla", "vanilla")])
    assert [trace.x[1] for trace in figure.data if len(trace.x) == 2] == [None] * 3
    assert [note.text for note in figure.layout.annotations] == ["Asi", "Vanilla"]
