from __future__ import annotations

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


def test_total_bytes_are_stacked_from_the_layers() -> None:
    figure = plot_kept_bytes(BOTH, unit="MiB", per_layer=False, log=False)
    vanilla, asi = figure.data
    assert figure.layout.barmode == "overlay"
    assert figure.layout.yaxis.type != "log"
    assert set(asi.x) == {"ASI"}
    assert list(vanilla.base) == [None, 2048 / 2**20]
    assert vanilla.base[1] + vanilla.y[1] == 3072 / 2**20


def test_work_is_stacked_by_part_in_each_layer() -> None:
    figure = plot_work(BOTH, unit="MACs", per_layer=True, log=True)
    assert figure.layout.yaxis.title.text == "MMACs, log scale"
    asi = [trace for trace in figure.data if trace.legendgroup == "asi"]
    assert [trace.y[0] for trace in asi] == [4, 12, 2, 6]
    assert [trace.base[0] for trace in asi] == [None, 4, 16, 18]
    assert {trace.offsetgroup for trace in asi} == {"asi"}
    assert asi[1].customdata[0] == (
        "ASI, overhead: 12\u202fMMACs<br>whole step: 24\u202fMMACs (2\u202f× more than vanilla)"
    )


def test_total_work_sums_the_layers() -> None:
    figure = plot_work(BOTH, unit="FLOPs", per_layer=False, log=False)
    vanilla = [trace for trace in figure.data if trace.legendgroup == "vanilla"]
    assert [trace.y[0] for trace in vanilla] == [8, 0, 4, 12]
    assert figure.layout.yaxis.title.text == "MFLOPs"
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == list(PARTS.values())


def test_parts_are_distinguished_without_colours() -> None:
    figure = plot_work([ASI], unit="MACs", per_layer=True, log=True)
    shapes = [t.marker.pattern.shape for t in figure.data if t.legendgroup == "asi"]
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
