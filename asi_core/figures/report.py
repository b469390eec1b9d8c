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
.axis{border:0;padding:0;margin:0;text-align:right}.axis label{margin-left:.8rem}
table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.35rem .7rem;border-bottom:1px solid #d9dce1;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
pre{background:#f3f5f7;padding:.8rem;border-radius:.4rem;white-space:pre-wrap;
overflow-wrap:anywhere}
@media print{pre{white-space:pre-wrap}}
"""
# Shows the figure on the chosen axis; plotly.js could not measure the other while it was hidden.
_SWITCH = """
document.addEventListener("change", ({target}) => {
  const figure = target.closest("figure");
  for (const drawn of figure.querySelectorAll("[data-axis]")) {
    drawn.hidden = drawn.dataset.axis !== target.value;
    if (!drawn.hidden) Plotly.Plots.resize(drawn.querySelector(".js-plotly-plot"));
  }
});
"""
# The font of the page.
_FONT = "system-ui,sans-serif"


@dataclass(frozen=True, slots=True)
class OtherAxis:
    """The same figure on the other kind of axis, linear or logarithmic: readers can choose.

    Attributes:
        is_log: whether this one has the logarithmic axis.
    """

    plot: go.Figure
    is_log: bool


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure and its caption, which says what is formula and what is measured; `plot` is what is
    shown at first."""

    plot: go.Figure
    caption: str
    other: OtherAxis | None = None


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


def figure_page(shown: ReportFigure) -> bytes:
    """One figure as a separate page: interactive and usable offline."""
    title = shown.plot.layout.title.text or "Figure"
    return _page(title, _figure(shown, "figure"))


def _page(title: str, body: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}{_SWITCH}</script></head><body><main>{body}</main></body></html>"
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
    drawn = _drawn(part.plot, name)
    if part.other is not None:
        drawn = _on_either_axis(part.plot, part.other, name)
    return f"<figure>{drawn}<figcaption>{escape(part.caption)}</figcaption></figure>"


def _on_either_axis(plot: go.Figure, other: OtherAxis, name: str) -> str:
    """Both figures and the choice between them."""
    first, second = ("linear", "log") if other.is_log else ("log", "linear")
    choices = "".join(
        f'<label><input type="radio" name="{name}-axis" value="{axis}"'
        f"{' checked' * (axis == first)}> {axis}</label>"
        for axis in ("linear", "log")
    )
    return (
        f'<fieldset class="axis" aria-label="Axis">{choices}</fieldset>'
        f'<div data-axis="{first}">{_drawn(plot, name)}</div>'
        f'<div data-axis="{second}" hidden>{_drawn(other.plot, f"{name}-{second}")}</div>'
    )


def _drawn(plot: go.Figure, name: str) -> str:
    drawn: str = (
        go.Figure(plot)
        .update_layout(font_family=_FONT)
        .to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=name,
            config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
        )
    )
    return drawn


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
