"""The parts of every page: its question and answer, figures and tables with their downloads.

A page asks one question, answers it in one sentence with the key numbers, then shows the figures,
then the details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.figures.report import OtherAxis, ReportFigure, figure_page
from asi_core.figures.style import Drawing, Figure
from asi_core.units import THIN_SPACE, three_digits
from dashboard.live_chart import live_chart

_MOST_IN_A_ROW = 5

# Options of every control: its value is in the URL, so that a link reproduces the view.
URL: dict[str, Any] = {"bind": "query-params"}

# Streamlit writes white on the theme's primary colour. In the dark theme that colour also serves
# as text colour and is light, so dark text is written on it.
_ON_PRIMARY = """:is(button[data-testid=stBaseButton-primary],
  a[data-testid=stBaseLinkButton-primary], [data-testid=stMultiSelect] span[title])"""
# Inside the app the browser chooses, which follows the system's theme at once. Menus lie outside
# of the app element, where CSS does not know the theme: they use that of the latest script run.
_IN_APP = f"[data-testid=stApp] {_ON_PRIMARY}"
_TEXT_ON_PRIMARY = f"""
{_IN_APP}, {_IN_APP} * {{ color: light-dark(#FFFFFF, #0E1013) !important; }}
"""
_DARK_MENUS = f"{_ON_PRIMARY}, {_ON_PRIMARY} * {{ color: #0E1013 !important; }}"

# Little space above the question, for projectors. On a phone, two controls or numbers stand side
# by side where they fit.
_STYLES = """
[data-testid=stMainBlockContainer] { padding: 4rem 2.5rem; }
[data-testid=stMainBlockContainer] h1 { font-size: 2rem; padding: 0 0 0.25rem; }
[data-testid=stMainBlockContainer] h2 { font-size: 1.5rem; padding: 0; }
[data-testid=stMainBlockContainer] h3 { font-size: 1.25rem; padding: 0; }
[data-testid=stMainBlockContainer] h5 { padding-top: 0; }
/* The line below a heading does not cross it. */
[data-testid=stHeading]:has(hr) [data-testid=stMarkdownContainer] { margin-bottom: 0; }
/* What cannot be changed can still be read. Each :has() stands at a kind of widget: with one at any
   element, the browser checks all styles again whenever anything appears. */
[data-testid=stApp] :is(button, input, textarea):disabled,
[data-testid=stApp] button:disabled *,
[data-testid=stApp] :is(.stCheckbox, .stRadio, .stButtonGroup) label:has(input:disabled) *,
[data-testid=stApp] :is(.stSelectbox, .stMultiSelect):has(input:disabled) *,
[data-testid=stApp] :is(.stNumberInput, .stSlider, .stTextInput):has(:disabled)
  [data-testid=stWidgetLabel] * {
  color: light-dark(#4A4F57, #B9C0C8) !important;
  -webkit-text-fill-color: currentColor;
}
/* The text of a number card is never cut off. */
[data-testid=stMetric] :is([data-testid=stMetricLabel], [data-testid=stMetricDelta]) * {
  white-space: normal; overflow: visible; text-overflow: clip;
}
[data-testid=stMetric] [data-testid=stMetricDelta] { height: auto; }
[data-testid=stMetric] [data-testid=stMetricValue] { font-size: 1.6rem; }
[data-testid=stMetric] [data-testid=stMetricValue] * { overflow: visible; text-overflow: clip; }
/* A figure's menu stands beside its caption, however long the caption is. */
[class*=st-key-below-] { flex-wrap: nowrap; }
[class*=st-key-below-] > :first-child { flex: 1 1 0; min-width: 0; }
@media (max-width: 640px) {
  [data-testid=stMainBlockContainer] { padding: 4rem 1rem; }
  .st-key-explore-controls [data-testid=stElementContainer],
  .st-key-explore-controls [data-testid=stElementContainer] > * { min-width: 0; }
  .st-key-explore-controls [data-testid=stHorizontalBlock] { gap: 0.75rem; }
  .st-key-explore-controls [data-testid=stHorizontalBlock] > [data-testid=stElementContainer] {
    width: calc(50% - 0.375rem); flex: 0 0 calc(50% - 0.375rem);
  }
  .st-key-numbers-row [data-testid=stColumn],
  .st-key-run-cards [data-testid=stColumn] { min-width: calc(50% - 1rem); }
  .st-key-numbers-row [data-testid=stMetricValue] { font-size: 1.5rem; }
}
"""

# All pages draw the setup's boxes, so that Streamlit keeps their values. In a closed sidebar the
# keyboard would still reach them, so they are hidden. On a phone the sidebar holds the page menu.
_HIDDEN_SETUP = """
[data-testid=stSidebarUserContent] { display: none; }
@media (min-width: 768px) { [data-testid=stExpandSidebarButton] { display: none; } }
"""


@dataclass(frozen=True, slots=True)
class Kpi:
    """A key number of a page: its value with unit, a short comparison, and a help text that says
    what it means and whether it is computed by formula or measured."""

    label: str
    value: str
    note: str | None = None
    help: str | None = None


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal place."""
    return f"{100 * share:.1f}{THIN_SPACE}%"


def short_percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with three significant digits."""
    return f"{three_digits(100 * share)}{THIN_SPACE}%"


def style_page(*, shows_setup: bool) -> None:
    """Add the styles that Streamlit's theme cannot express."""
    dark = _DARK_MENUS if st.context.theme.type == "dark" else ""
    hidden = "" if shows_setup else _HIDDEN_SETUP
    st.html(f"<style>{_STYLES}{hidden}{_TEXT_ON_PRIMARY}{dark}</style>")


def question(text: str) -> None:
    """The page's question, its only top-level heading."""
    st.title(text)


def answer(sentence: str) -> None:
    """The answer in one sentence, as far as it is known."""
    with st.container(key="page-answer"):
        st.markdown(f"##### {sentence}")


def drawer(label: str, *, icon: str, key: str) -> Any:
    """An expander whose state is in the URL. Draw its content only while `.open` is true."""
    return st.expander(label, icon=icon, key=key, on_change="rerun", **URL)


def axis_control(about: str = "the bars") -> bool:
    """A switch between a linear and a log axis, the same for all pages; whether it is log."""
    axis = st.segmented_control(
        "Axis",
        ["linear", "log"],
        default="linear",
        required=True,
        key="axis",
        label_visibility="collapsed",
        help=f"The axis of {about}. On a linear axis a bar that is 64 times as long is 64 times as "
        "much; a log axis shows small and large together.",
        **URL,
    )
    return bool(axis == "log")


def is_log_axis() -> bool:
    """Whether the page's `axis_control` is set to log."""
    return bool(st.session_state.get("axis") == "log")


def columns_in_rows(count: int) -> list[DeltaGenerator]:
    """Columns side by side; many in several rows of nearly as many each."""
    rows = 1 if count <= _MOST_IN_A_ROW else ceil(count / (_MOST_IN_A_ROW - 1))
    return [c for _ in range(rows) for c in st.columns(ceil(count / rows))][:count]


def kpi_row(kpis: Sequence[Kpi]) -> None:
    """The numbers side by side, many in rows; in two columns in a narrow window."""
    with st.container(key="numbers-row"):
        columns = columns_in_rows(len(kpis))
    for column, kpi in zip(columns, kpis, strict=True):
        column.metric(
            kpi.label,
            kpi.value,
            delta=kpi.note,
            delta_color="off",
            delta_arrow="off",
            help=kpi.help,
            border=True,
            height="stretch",
        )


def figure(
    plot: Figure | Drawing,
    *,
    key: str,
    caption: str,
    other_axis: Callable[[], Figure | Drawing] | None = None,
    on_click: Callable[[dict[str, Any]], None] | None = None,
    on_drawn: Callable[[str], None] | None = None,
    drawn_token: str = "",
) -> None:
    """A live chart with downloads, and a caption that says what is formula and what is measured.

    PNG, SVG and PDF come from the chart's mode bar, a self-contained page from the menu below it.

    Args:
        other_axis: draws the figure on the other choice of `axis_control`, for the page.
    """
    live_chart(plot, key=key, on_click=on_click, on_drawn=on_drawn, drawn_token=drawn_token)
    below_figure(plot, other_axis, key=key, caption=caption)


def with_other_axis(
    plot: Figure | Drawing, caption: str, other: Callable[[], Figure | Drawing] | None, *, log: bool
) -> ReportFigure:
    """A figure for a page outside of the app.

    Args:
        other: draws the figure on the other axis, if there is one.
        log: whether `plot` has the logarithmic axis, if there is another.
    """
    also = None if other is None else OtherAxis(Figure(other()), is_log=not log)
    return ReportFigure(Figure(plot), caption, also)


def below_figure(
    plot: Figure | Drawing,
    other_axis: Callable[[], Figure | Drawing] | None = None,
    *,
    key: str,
    caption: str,
    further: str = "",
) -> None:
    """The caption of a live chart and a menu of its downloads.

    Args:
        other_axis: as in `figure`.
        further: what the caption says only on the page.
    """
    log = is_log_axis()
    below = st.container(key=f"below-{key}", horizontal=True, gap="small", vertical_alignment="top")
    with below:
        st.caption(f"{caption} {further}".strip())
        menu = st.popover(
            "",
            icon=":material/download:",
            help="Download this figure",
            key=f"{key}-menu",
            on_change="rerun",
        )
        # Drawn only while the menu is open: a page may have many figures.
        if menu.open:
            menu.download_button(
                "Interactive page (HTML)",
                lambda: figure_page(with_other_axis(plot, caption, other_axis, log=log)),
                file_name=f"{key}.html",
                mime="text/html",
                key=f"{key}-html",
                on_click="ignore",
            )
            menu.caption(
                "PNG, SVG and PDF: the buttons at the top right of the figure. For a paper take "
                "SVG or PDF, which have no pixels. For PDF, choose *Save as PDF* as the printer: "
                "the page has the figure's size."
            )
