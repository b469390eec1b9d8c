from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from asi_core.figures.explore import (
    PARTS,
    LayerBar,
    MeasuredBars,
    MethodBars,
    plot_kept_bytes,
    plot_measured,
    plot_work,
)
from asi_core.figures.style import STYLES

WORK = dict(zip(PARTS, (4_000_000, 0, 2_000_000, 6_000_000), strict=True))
VANILLA = MethodBars(
    "Vanilla",
    "vanilla",
    [LayerBar("first", 2048, WORK), LayerBar("second", 1024, WORK)],
)
ASI = MethodBars(
    "ASI",
    "asi",
    [LayerBar("first", 512, {**WORK, "overhead": 12_000_000}), LayerBar("second", 256, WORK)],
)
BOTH = [VANILLA, ASI]


def test_bytes_per_layer_stand_beside_each_other_with_the_ratio_in_the_hover() -> None:
    figure = plot_kept_bytes(BOTH, unit="KiB", per_layer=True, log=True)
    assert figure.layout.barmode == "group"
    assert figure.layout.yaxis.type == "log"
    assert "KiB" in figure.layout.yaxis.title.text
    vanilla, asi = figure.data
    assert (list(vanilla.x), list(vanilla.y)) == (["1", "2"], [2, 1])
    assert list(asi.y) == [0.5, 0.25]
    assert asi.customdata[0] == "ASI, first: 512\u202fB (4\u202f× less than vanilla)"
    assert "(" not in vanilla.customdata[0]
    assert [trace.marker.color for trace in figure.data] == ["#4D4D4D", STYLES["asi"].color]


def test_total_bytes_are_stacked_from_the_layers_and_told_in_words() -> None:
    figure = plot_kept_bytes(BOTH, unit="MiB", per_layer=False, log=False)
    first, second = figure.data
    assert figure.layout.xaxis.type != "log"
    assert (list(first.base), list(first.x)) == ([0, 0], [2048 / 2**20, 512 / 2**20])
    assert list(second.base) == list(first.x)
    assert list(second.x) == [1024 / 2**20, 256 / 2**20]
    assert list(first.marker.color) == [STYLES["vanilla"].color, STYLES["asi"].color]
    assert list(figure.layout.yaxis.ticktext) == [
        "<b>Vanilla</b>  3\u202fKiB",
        "<b>ASI</b>  768\u202fB, 4\u202f× less",
    ]
    assert not figure.layout.showlegend


@pytest.mark.parametrize("plot", [plot_kept_bytes, plot_work])
@pytest.mark.parametrize("per_layer", [True, False])
def test_nothing_is_stacked_on_a_log_axis(plot: Callable[..., go.Figure], per_layer: bool) -> None:
    unit = "KiB" if plot is plot_kept_bytes else "MACs"
    figure = plot(BOTH, unit=unit, per_layer=per_layer, log=True)
    assert "log" in (figure.layout.xaxis.type, figure.layout.yaxis.type)
    assert all(trace.base is None for trace in figure.data)
    assert len(figure.data) == (2 if per_layer else 1)
    whole = [value for trace in figure.data for value in (trace.y if per_layer else trace.x)]
    linear = plot(BOTH, unit=unit, per_layer=per_layer, log=False)
    assert max(whole) == pytest.approx(max(_ends(linear, per_layer)))


def _ends(figure: go.Figure, per_layer: bool) -> list[float]:
    """Where the bars end."""
    return [
        length + low
        for trace in figure.data
        if trace.x != (None,)
        for length, low in zip(
            trace.y if per_layer else trace.x, trace.base or [0] * len(trace.x), strict=True
        )
    ]


def test_work_is_stacked_by_part_in_each_layer() -> None:
    figure = plot_work(BOTH, unit="MACs", per_layer=True, log=False)
    assert figure.layout.yaxis.title.text == "MMACs"
    asi = [trace for trace in figure.data if trace.legendgroup == "asi"]
    assert [trace.y[0] for trace in asi] == [4, 12, 2, 6]
    assert [trace.base[0] for trace in asi] == [0, 4, 16, 18]
    assert {trace.offsetgroup for trace in asi} == {"asi"}
    assert asi[1].customdata[0] == (
        "ASI, overhead: 12\u202fMMACs<br>whole step: 24\u202fMMACs (2\u202f× more than vanilla)"
    )


def test_total_work_sums_the_layers() -> None:
    figure = plot_work(BOTH, unit="FLOPs", per_layer=False, log=False)
    bars = [trace for trace in figure.data if trace.x != (None,)]
    assert [bar.x[0] for bar in bars] == [8, 0, 4, 12]
    assert [bar.base[0] for bar in bars] == [0, 8, 8, 12]
    assert figure.layout.xaxis.title.text == "MFLOPs"
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == list(PARTS.values())
    assert "50\u202f% more" in figure.layout.yaxis.ticktext[1]


@pytest.mark.parametrize("per_layer", [True, False])
def test_parts_are_distinguished_without_colours(per_layer: bool) -> None:
    figure = plot_work([ASI], unit="MACs", per_layer=per_layer, log=False)
    shapes = [trace.marker.pattern.shape for trace in figure.data if trace.x != (None,)]
    assert len(set(shapes)) == len(PARTS)


def test_zoom_is_kept_only_while_the_bars_are_the_same() -> None:
    def revision(rows: list[MethodBars], **changes: bool) -> str:
        shape = {"per_layer": True, "log": True, **changes}
        return str(plot_kept_bytes(rows, unit="KiB", **shape).layout.uirevision)  # type: ignore[arg-type]

    fewer = [MethodBars(row.label, row.style, row.layers[:1]) for row in BOTH]
    assert revision(BOTH) == revision([VANILLA])
    assert len({revision(BOTH), revision(fewer), revision(BOTH, log=False)}) == 3


@pytest.mark.parametrize("per_layer", [True, False])
def test_no_method_leaves_an_empty_frame(per_layer: bool) -> None:
    shape = {"per_layer": per_layer, "log": True}
    assert plot_kept_bytes([], unit="KiB", **shape).layout.title.text
    assert plot_work([], unit="MACs", **shape).layout.title.text


def test_measured_bytes_are_stacked_beside_the_formula() -> None:
    rows = [
        MeasuredBars("Vanilla", "vanilla", 2**20, {"trained layer inputs": 2**20, "other": 2**21}),
        MeasuredBars("ASI", "asi", 2**18, {"trained layer inputs": 2**18, "pooling": 0}),
    ]
    figure = plot_measured(rows)
    assert figure.layout.barmode == "stack"
    *bars, mark = figure.data
    assert [bar.name for bar in bars] == ["trained layer inputs", "other"]
    assert list(bars[0].y) == list(mark.y) == [1, 0.25]
    assert list(bars[1].y) == [2, 0]


def test_a_measurement_without_closed_form_has_no_mark() -> None:
    rows = [
        MeasuredBars("Vanilla", "vanilla", 2**20, {"trained layer inputs": 2**20}),
        MeasuredBars("ASI", "asi", None, {"trained layer inputs": 2**18}),
    ]
    bar, mark = plot_measured(rows).data
    assert list(bar.y) == [1, 0.25]
    assert list(mark.y) == [1, None]
    assert list(mark.customdata)[1] == "no closed form"
