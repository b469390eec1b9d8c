"""Figures of the Spectra page: spectra, pictures, and curves over a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asi_core.figures.drift import (
    ProbedRun,
    plot_captured_energy,
    plot_drift,
    plot_gradient_cosine,
    plot_ranks,
)
from asi_core.figures.pictures import PictureRow, plot_pictures
from asi_core.figures.spectra import (
    Cut,
    SpectrumRows,
    explained_percent,
    plot_explained_energy,
    plot_singular_values,
    plot_spectra,
)
from asi_core.figures.style import STYLES

SPECTRUM = SpectrumRows(
    (2, 20, 3),
    ((3.0, 1.0), (*(2.0**-i for i in range(19)), 0.0), (2.0, 1.0, 0.0)),
    ("batch", "tokens", "features"),
)
CUTS = [Cut("ASI", "asi", (1, 4, 3)), Cut("HOSVD", "hosvd", (2, 30, 1))]
ASI = ProbedRun(
    label="ASI",
    style="asi",
    steps=(1, 50),
    ranks=((2, 4), (2, 4)),
    captured=(0.5, 0.6),
    best=(0.55, 0.65),
    cosines=(0.8, 0.9),
    drift=((None, None), (80.0, 12.0)),
)
HOSVD = ProbedRun(
    label="HOSVD",
    style="hosvd",
    steps=(1, 50),
    ranks=((2, 5), (3, 6)),
    captured=(0.7, 0.7),
    best=(0.7, 0.7),
    cosines=(0.85, 0.86),
    drift=(None, None),
)
VANILLA = ProbedRun("Vanilla", "vanilla", (1,), (None,), (None,), (None,), (None,), (None,))


def test_explained_energy_is_the_share_of_the_squares() -> None:
    assert list(explained_percent([3, 1])) == pytest.approx([90, 100])
    assert list(explained_percent([0, 0])) == [100, 100]


@pytest.mark.parametrize("plot", [plot_explained_energy, plot_singular_values])
def test_a_mode_is_named_by_its_own_name_and_size(plot) -> None:  # type: ignore[no-untyped-def]
    figure = plot(SPECTRUM, 1, CUTS)
    assert figure.layout.title.text == "tokens (20)"
    assert [trace.name for trace in figure.data] == ["spectrum", "ASI", "HOSVD"]
    assert figure.data[1].line.color == STYLES["asi"].color


def test_a_cut_stands_at_its_rank_and_ends_on_the_curve() -> None:
    energy = plot_explained_energy(SPECTRUM, 1, CUTS).data
    assert list(energy[1].x) == [4, 4]
    assert list(energy[1].y) == [0, energy[0].y[3]]
    values = plot_singular_values(SPECTRUM, 1, CUTS).data
    assert list(values[1].y) == [values[0].y[18], 0.125]
    beyond = plot_explained_energy(SPECTRUM, 1, CUTS).data[2]
    assert (beyond.x[0], beyond.y[1]) == (30, 100)


def test_logarithmic_axes_leave_out_zeros_and_linear_ones_show_them() -> None:
    log, linear = (plot_singular_values(SPECTRUM, 1, [], axes) for axes in ("log", "linear"))  # type: ignore[arg-type]
    assert log.data[0].y[-1] is None
    assert linear.data[0].y[-1] == 0
    assert (log.layout.xaxis.type, log.layout.yaxis.type) == ("log", "log")
    assert (linear.layout.xaxis.type, linear.layout.yaxis.type) == (None, None)


def test_few_values_are_counted_one_by_one() -> None:
    figure = plot_singular_values(SPECTRUM, 0, [])
    assert figure.layout.xaxis.type is None
    assert figure.layout.xaxis.dtick == 1
    # Less than a decade: powers of ten alone would leave the axis without numbers.
    assert figure.layout.yaxis.dtick == "L0.2"


def test_a_spectrum_of_nothing_is_drawn() -> None:
    nothing = SpectrumRows((2, 2), ((0.0, 0.0), (0.0, 0.0)), ("batch", "features"))
    assert list(plot_singular_values(nothing, 0, []).data[0].y) == [None, None]
    assert list(plot_explained_energy(nothing, 0, []).data[0].y) == [100, 100]


def test_the_requested_share_is_a_level_line() -> None:
    (line,) = plot_explained_energy(SPECTRUM, 0, [], share=0.8).layout.shapes
    assert (line.y0, line.y1) == (80, 80)
    assert not plot_explained_energy(SPECTRUM, 0, []).layout.shapes


def test_cuts_of_one_method_are_distinguished() -> None:
    cuts = [Cut(f"ASI, rank {rank}", "asi", (rank, rank, rank)) for rank in (1, 2)]
    first, second = plot_explained_energy(SPECTRUM, 0, cuts).data[1:]
    assert first.line.color != second.line.color
    assert first.marker.symbol != second.marker.symbol


def test_all_modes_together_are_two_in_a_row() -> None:
    figure = plot_spectra(SPECTRUM, CUTS)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == ["batch (2)", "tokens (20)", "features (3)"]
    columns = {axis.domain[0] for axis in figure.select_xaxes()}
    assert len(columns) == 2
    assert sum(bool(trace.showlegend) for trace in figure.data) == len(CUTS)


def test_ranks_leave_out_methods_without() -> None:
    figure = plot_ranks([VANILLA, ASI, HOSVD], 1, "channel")
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [
        ("ASI", [4, 4]),
        ("HOSVD", [5, 6]),
    ]
    assert "channel" in figure.layout.title.text


def test_captured_energy_has_a_dotted_twin_where_hosvd_would_keep_other() -> None:
    figure = plot_captured_energy([VANILLA, ASI, HOSVD])
    assert [trace.name for trace in figure.data] == ["ASI", "HOSVD", "HOSVD at the same ranks"]
    assert list(figure.data[2].y) == pytest.approx([55, 65])
    assert figure.data[2].line.dash == "dot"


def test_dotted_twins_are_one_entry_of_the_legend() -> None:
    other = replace(ASI, label="ASI, rank 2", best=(0.3, 0.3))
    twins = plot_captured_energy([ASI, other]).data[2:]
    assert [trace.showlegend for trace in twins] == [True, False]
    assert len({trace.legendgroup for trace in twins}) == 1


def test_drift_leaves_the_batch_out() -> None:
    figure = plot_drift(ASI, ("batch", "channel"))
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [("channel", [None, 12.0])]
    assert not plot_drift(HOSVD, ("batch", "channel")).data


def test_cosines_are_drawn_where_gradients_are_approximated() -> None:
    figure = plot_gradient_cosine([VANILLA, ASI, HOSVD])
    assert [trace.name for trace in figure.data] == ["ASI", "HOSVD"]


def test_pictures_stand_side_by_side_without_touching() -> None:
    tiles = [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]] * 2
    figure = plot_pictures(
        [PictureRow("input", tiles), PictureRow("ASI", tiles)], ["7", "3"], title="Pictures"
    )
    assert [trace.name for trace in figure.data] == ["input, 7", "input, 3", "ASI, 7", "ASI, 3"]
    first, right, below, _ = figure.data
    assert right.x[0] - first.x[-1] > 1
    assert below.y[0] - first.y[-1] > 1
    assert list(right.y) == list(first.y)
    assert len({trace.coloraxis for trace in figure.data}) == 1
    assert list(figure.layout.yaxis.ticktext) == ["input", "ASI"]
    assert figure.layout.yaxis.autorange == "reversed"
