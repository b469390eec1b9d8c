from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from asi_core.figures.report import (
    OtherAxis,
    ReportCode,
    ReportFigure,
    ReportTable,
    Section,
    figure_page,
    report_page,
)

NASTY = "</script><script>alert('x')</script> & \"quotes\""
FIGURE = ReportFigure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=NASTY)), f"measured {NASTY}")


class Reader(HTMLParser):
    """Tags, and the text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.axes: list[str] = []
        self.hidden: list[str] = []
        self.checked: list[str] = []
        self.text = ""
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        known = {name: value or "" for name, value in attrs}
        self.axes += [known["value"]] if known.get("type") == "radio" else []
        self.checked += [known["value"]] if "checked" in known else []
        self.hidden += [known["data-axis"]] if "hidden" in known else []
        self._code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    return reader


def page() -> bytes:
    table = ReportTable([{"run": NASTY, "bytes": "1 KiB"}], "by formula")
    parts = [FIGURE, FIGURE, table, "A paragraph.", ReportCode(f"python {NASTY}")]
    return report_page(f"Title {NASTY}", f"Answer {NASTY}", [Section(f"Heading {NASTY}", parts)])


def test_whatever_is_reported_is_text() -> None:
    reader = read(page())
    for place in ("Title", "Answer", "Heading", "measured", "python"):
        assert f"{place} {NASTY}" in reader.text
    # plotly.js, and for each figure the script that draws it.
    assert reader.tags.count("script") == 1 + 2 * 1
    assert b"<script>alert" not in page()


def test_nothing_is_fetched() -> None:
    reader = read(page())
    assert reader.links == []
    assert "link" not in reader.tags
    assert "iframe" not in reader.tags


def test_plotly_is_in_it_once() -> None:
    assert page().decode().count(get_plotlyjs()[:2000]) == 1


def test_the_other_axis_can_be_chosen() -> None:
    other = OtherAxis(go.Figure(go.Bar(y=[5]), {"yaxis": {"type": "log"}}), is_log=True)
    reader = read(figure_page(replace(FIGURE, other=other)))
    assert reader.axes == ["linear", "log"]
    assert reader.hidden == ["log"], "first what was on the page"
    assert reader.checked == ["linear"]
    swapped = OtherAxis(FIGURE.plot, is_log=False)
    reader = read(figure_page(replace(FIGURE, plot=other.plot, other=swapped)))
    assert (reader.hidden, reader.checked) == (["linear"], ["log"])
    assert read(figure_page(FIGURE)).axes == []


def test_figures_have_different_names() -> None:
    names = re.findall(r'id="(figure-\d+-\d+)"', page().decode())
    assert len(names) == len(set(names)) == 2


def test_tables_have_headers_and_rows() -> None:
    reader = read(page())
    assert reader.tags.count("th") == 2
    assert reader.tags.count("td") == 2
    assert "by formula" in reader.text


def test_an_empty_table_is_left_out() -> None:
    assert "table" not in read(report_page("t", "a", [Section("s", [ReportTable([])])])).tags
