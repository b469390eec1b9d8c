"""What every page is built of: the question with its answer, figures and tables with their exports.

A page asks one question, answers it in one sentence with the numbers that matter, then shows the
picture, then the details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from asi_core.figures.report import figure_page
from asi_core.figures.style import Figure
from dashboard.live_chart import live_chart

# For every control: its value is in the URL under its key, so that a link reproduces the view.
URL: dict[str, Any] = {"bind": "query-params"}


_PRIMARY = (
    "button[data-testid=stBaseButton-primary]",
    "a[data-testid=stBaseLinkButton-primary]",
    "[data-testid=stMultiSelect] span[title]",
)
_ON_PRIMARY = ", ".join(f"{part}, {part} *" for part in _PRIMARY)


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


def draw(page: Callable[[], None]) -> None:
    """Draw a page inside of the app's frame.

    A link straight to a page is the first that a new server may see. Streamlit then takes the file
    for a page of its old kind, runs it without `app.py`, and so without frame and navigation, as it
    does for any app with a folder called pages. It is told otherwise and starts over.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()
    page()


def dark_text_on_light_blue() -> None:
    """In the dark theme, write on buttons and tags in dark.

    Streamlit writes white on the theme's primary colour. That colour is also the colour of text on
    the dark background, so it has to be a light one.
    """
    if st.context.theme.type == "dark":
        st.html(f"<style>{_ON_PRIMARY} {{ color: #0E1013 !important; }}</style>")


def question(text: str, icon: str | None = None) -> None:
    """The page's question, its only heading of the first level."""
    st.title(f"{icon} {text}" if icon else text)


def answer(sentence: str) -> None:
    """The answer in one sentence, as far as it is known."""
    st.markdown(f"##### {sentence}")


def kpi_row(kpis: Sequence[Kpi]) -> None:
    """The numbers side by side; below each other where the window is narrow."""
    for column, kpi in zip(st.columns(len(kpis)), kpis, strict=True):
        column.metric(
            kpi.label,
            kpi.value,
            delta=kpi.note,
            delta_color="off",
            delta_arrow="off",
            help=kpi.help,
            border=True,
        )


def figure(plot: Figure, *, key: str, caption: str) -> None:
    """A figure that stays in place while it changes, with what it shows and its own export.

    PNG and SVG come from the chart's mode bar, a self-contained page from the menu below it.

    Args:
        caption: says what is formula and what is measured.
    """
    live_chart(plot, key=key)
    words, menu = st.columns([12, 1], vertical_alignment="top")
    words.caption(caption)
    with menu.popover("", icon=":material/download:", help="Take this figure with you"):
        st.download_button(
            "Interactive page (HTML)",
            lambda: figure_page(plot, caption),
            file_name=f"{key}.html",
            mime="text/html",
            key=f"{key}-html",
            on_click="ignore",
        )
        st.caption("PNG and SVG: the buttons at the top right of the figure.")


def table(rows: pd.DataFrame, *, key: str, caption: str | None = None, **options: Any) -> Any:
    """A table with a download of what it holds.

    Args:
        rows: plain numbers in base units (bytes, MACs, seconds), as they go into the file.
        options: to `st.dataframe`, such as `column_config`.

    Returns:
        what `st.dataframe` returns.
    """
    shown = st.dataframe(rows, key=key, hide_index=True, **options)
    words, button = st.columns([8, 2], vertical_alignment="top")
    if caption:
        words.caption(caption)
    button.download_button(
        "CSV",
        rows.to_csv(index=False).encode(),
        file_name=f"{key}.csv",
        mime="text/csv",
        key=f"{key}-csv",
        icon=":material/download:",
        on_click="ignore",
        help="All rows and columns of this table, in base units.",
    )
    return shown
