"""A report as one file: text, tables and interactive figures, usable offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_STYLE = """
body{font-family:system-ui,sans-serif;line-height:1.5;color:#262730;background:#fff;
max-width:76rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem}h2{margin-top:2.5rem;font-size:1.25rem}
.answer{font-size:1.15rem}
figure{margin:1rem 0}figcaption,.caption{color:#5b6068;font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.35rem .7rem;border-bottom:1px solid #d9dce1;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
pre{background:#f3f5f7;padding:.8rem;border-radius:.4rem;white-space:pre-wrap;
overflow-wrap:anywhere}
@media print{pre{white-space:pre-wrap}}
"""


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure and its caption, which says what is formula and what is measured."""

    plot: go.Figure
    caption: str


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows of readable text; the keys, equal in all rows, are the header."""

    rows: Sequence[Mapping[str, str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class ReportCode:
    """Text to copy verbatim."""

    text: str


Part = str | ReportFigure | ReportTable | ReportCode


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its content in order; a plain string is a paragraph."""

    heading: str
    parts: Sequence[Part]


def report_page(title: str, answer: str, sections: Sequence[Section]) -> bytes:
    """The report as HTML in UTF-8; all text is escaped, and plotly.js is included once.

    Args:
        answer: the sentence at the top.
    """
    body = "".join(
        f"<section><h2>{escape(section.heading)}</h2>"
        + "".join(_part(part, f"figure-{i}-{j}") for j, part in enumerate(section.parts))
        + "</section>"
        for i, section in enumerate(sections)
    )
    return _page(title, f'<h1>{escape(title)}</h1><p class="answer">{escape(answer)}</p>{body}')


def figure_page(plot: go.Figure, caption: str) -> bytes:
    """One figure as a separate page: interactive and usable offline."""
    title = plot.layout.title.text or "Figure"
    return _page(title, _figure(ReportFigure(plot, caption), "figure"))


def _page(title: str, body: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><main>{body}</main></body></html>"
    ).encode()


def _part(part: Part, name: str) -> str:
    if isinstance(part, ReportFigure):
        return _figure(part, name)
    if isinstance(part, ReportTable):
        return _table(part)
    if isinstance(part, ReportCode):
        return f"<pre><code>{escape(part.text)}</code></pre>"
    return f"<p>{escape(part)}</p>"


def _figure(part: ReportFigure, name: str) -> str:
    drawn = part.plot.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
    )
    return f"<figure>{drawn}<figcaption>{escape(part.caption)}</figcaption></figure>"


def _table(part: ReportTable) -> str:
    if not part.rows:
        return ""
    names = list(part.rows[0])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(row[name])}</td>" for name in names) + "</tr>"
        for row in part.rows
    )
    caption = f'<p class="caption">{escape(part.caption)}</p>' if part.caption else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f"</div>{caption}"
    )
