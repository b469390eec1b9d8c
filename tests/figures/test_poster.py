from __future__ import annotations

from asi_core.figures.poster import PrintedRow, plot_printed_against_computed

ROWS = [
    PrintedRow("a", "Vanilla", "vanilla", 10.0, 10.0, True, None),
    PrintedRow("b", "HOSVD", "hosvd", 2.0, 1.0, False, 10.0),
    PrintedRow("c", "HOSVD", "hosvd", 40.0, 40.0, True, None),
]


def test_points_stand_where_printed_and_computed_meet() -> None:
    diagonal, vanilla, hosvd = plot_printed_against_computed(ROWS, title="T", unit="MiB").data
    assert list(diagonal.x) == list(diagonal.y)
    assert diagonal.x[0] < 1
    assert diagonal.x[-1] > 40
    assert (list(vanilla.x), list(vanilla.y)) == ([10.0], [10.0])
    assert (list(hosvd.x), list(hosvd.y)) == ([2.0, 40.0], [1.0, 40.0])


def test_what_is_not_exact_is_open_and_larger() -> None:
    *_, hosvd = plot_printed_against_computed(ROWS, title="T", unit="MiB").data
    assert list(hosvd.marker.symbol) == ["square-open", "square"]
    assert hosvd.marker.size[0] > hosvd.marker.size[1]


def test_the_hover_has_both_and_the_ratio_to_vanilla() -> None:
    *_, hosvd = plot_printed_against_computed(ROWS, title="T", unit="MiB").data
    assert hosvd.customdata[0] == (
        "b<br>printed 2 MiB, computed 1 MiB<br>5\u202f× less than vanilla, as printed"
    )
    assert "vanilla" not in hosvd.customdata[1]


def test_both_axes_are_logarithmic_and_an_empty_figure_is_one() -> None:
    figure = plot_printed_against_computed(ROWS, title="T", unit="MiB")
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert len(plot_printed_against_computed([], title="T", unit="MiB").data) == 0
