"""What every page is built of: the question with its answer, figures and tables with their exports.

A page asks one question, answers it in one sentence with the numbers that matter, then shows the
picture, then the details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.figures.report import figure_page
from asi_core.figures.style import Drawing, Figure
from dashboard.csv_files import csv_bytes, harmless
from dashboard.live_chart import live_chart

_MOST_IN_A_ROW = 5

# Key of what stands where something will be that the page has already asked for.
TO_COME = "to-come"

# For every control: its value is in the URL under its key, so that a link reproduces the view.
URL: dict[str, Any] = {"bind": "query-params"}


# Streamlit writes white on the theme's primary colour. In the dark theme that colour is also the
# colour of text on the dark background, so it has to be a light one: dark text is written on it.
_ON_PRIMARY = """:is(button[data-testid=stBaseButton-primary],
  a[data-testid=stBaseLinkButton-primary], [data-testid=stMultiSelect] span[title])"""
# In the app the browser chooses, which knows as soon as a visitor's system turns dark or light.
# Menus lie outside of it, where no theme is told: theirs is that of the latest run.
_IN_APP = f"[data-testid=stApp] {_ON_PRIMARY}"
_TEXT_ON_PRIMARY = f"""
{_IN_APP}, {_IN_APP} * {{ color: light-dark(#FFFFFF, #0E1013) !important; }}
"""
_DARK_MENUS = f"{_ON_PRIMARY}, {_ON_PRIMARY} * {{ color: #0E1013 !important; }}"

# Room above the page's question is room that a projector lacks. On a phone, two controls or
# numbers stand side by side where they can be read so.
_STYLES = """
[data-testid=stMainBlockContainer] { padding-top: 4rem; padding-bottom: 4rem; }
/* A figure's menu stands beside its caption, however long that is. */
[class*=st-key-below-] { flex-wrap: nowrap; }
[class*=st-key-below-] > :first-child { flex: 1 1 0; min-width: 0; }
@media (max-width: 640px) {
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


# The boxes are there on all pages, so that Streamlit keeps what they say. In a closed sidebar the
# keyboard would still reach them. On a phone the sidebar has the menu too.
_HIDDEN_SETUP = """
[data-testid=stSidebarUserContent] { display: none; }
@media (min-width: 768px) { [data-testid=stExpandSidebarButton] { display: none; } }
"""


@dataclass(frozen=True, slots=True)
class Kpi:
    """One of the few numbers that answer a page's question.

    Attributes:
        value: with its unit.
        note: what it is set against, in a few words.
        help: what the number means and whether it is formula or measured.
    """

    label: str
    value: str
    note: str | None = None
    help: str | None = None


def style_page(*, shows_setup: bool) -> None:
    """What Streamlit's theme cannot say."""
    dark = _DARK_MENUS if st.context.theme.type == "dark" else ""
    hidden = "" if shows_setup else _HIDDEN_SETUP
    st.html(f"<style>{_STYLES}{hidden}{_TEXT_ON_PRIMARY}{dark}</style>")


def question(text: str, icon: str | None = None) -> None:
    """The page's question, its only heading of the first level."""
    st.title(f"{icon} {text}" if icon else text)


def answer(sentence: str) -> None:
    """The answer in one sentence, as far as it is known."""
    st.markdown(f"##### {sentence}")


def kpi_row(kpis: Sequence[Kpi]) -> None:
    """The numbers side by side, many in two rows; in two columns where the window is narrow."""
    rows = 1 if len(kpis) <= _MOST_IN_A_ROW else 2
    with st.container(key="numbers-row"):
        columns = [c for _ in range(rows) for c in st.columns(ceil(len(kpis) / rows))][: len(kpis)]
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
    on_drawn: Callable[[str], None] | None = None,
    drawn_token: str = "",
) -> None:
    """A figure that stays in place while it changes, with what it shows and its own export.

    PNG and SVG come from the chart's mode bar, a self-contained page from the menu below it.

    Args:
        caption: says what is formula and what is measured.
        on_drawn, drawn_token: as in `live_chart`.
    """
    live_chart(plot, key=key, on_drawn=on_drawn, drawn_token=drawn_token)
    below = st.container(key=f"below-{key}", horizontal=True, gap="small", vertical_alignment="top")
    with below:
        st.caption(caption)
        menu = st.popover(
            "",
            icon=":material/download:",
            help="Take this figure with you",
            key=f"{key}-menu",
            on_change="rerun",
        )
        # A closed menu costs nothing: there may be many on a page.
        if menu.open:
            menu.download_button(
                "Interactive page (HTML)",
                lambda: figure_page(Figure(plot), caption),
                file_name=f"{key}.html",
                mime="text/html",
                key=f"{key}-html",
                on_click="ignore",
            )
            menu.caption("PNG and SVG: the buttons at the top right of the figure.")


def table(rows: pd.DataFrame, *, key: str, caption: str | None = None, **options: Any) -> Any:
    """A table with a download of what it holds.

    Args:
        rows: plain numbers in base units (bytes, MACs, seconds), as they go into the file.
        options: to `st.dataframe`, such as `column_config`.

    Returns:
        what `st.dataframe` returns.
    """
    # The browser too offers what is shown as CSV.
    shown = st.dataframe(harmless(rows), key=key, hide_index=True, **options)
    _below_table(rows, key, caption)
    return shown


def small_table(shown: pd.DataFrame, rows: pd.DataFrame, *, key: str, caption: str) -> None:
    """A table to be read and not to be sorted, with a download: a tenth of the browser's work.

    Args:
        shown: text as people read it.
        rows: the same as plain numbers in base units, as they go into the file.
    """
    st.table(shown, hide_index=True, border="horizontal")
    _below_table(rows, key, caption)


def _below_table(rows: pd.DataFrame, key: str, caption: str | None) -> None:
    words, button = st.columns([8, 2], vertical_alignment="top")
    if caption:
        words.caption(caption)
    button.download_button(
        "CSV",
        lambda: csv_bytes(rows),
        file_name=f"{key}.csv",
        mime="text/csv",
        key=f"{key}-csv",
        icon=":material/download:",
        on_click="ignore",
        help="All rows and columns of this table, in base units.",
    )
