"""Tables of all pages, each with its downloads: CSV for a spreadsheet, LaTeX for a paper."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.csv_files import csv_bytes, harmless
from dashboard.table_files import latex_bytes


def table(rows: pd.DataFrame, *, key: str, caption: str | None = None, **options: Any) -> None:
    """A table with downloads of `rows`, in base units (bytes, MACs, seconds); `options` go to
    `st.dataframe`."""
    # Escaped here too: the browser offers the shown table as CSV.
    st.dataframe(harmless(rows), key=key, hide_index=True, **options)
    below_table(rows, key, caption)


def small_table(shown: pd.DataFrame, rows: pd.DataFrame, *, key: str, caption: str) -> None:
    """A table of formatted text with downloads of `rows`, in base units. It cannot be sorted,
    and takes a tenth of the browser's time."""
    st.table(shown, hide_index=True, border="horizontal")
    below_table(rows, key, caption, shown)


def below_table(
    rows: pd.DataFrame, key: str, caption: str | None, shown: pd.DataFrame | None = None
) -> None:
    """A table's caption and its downloads: `rows` as CSV, and what is `shown`, or else the rows, as
    LaTeX."""
    with st.container(key=f"below-{key}", horizontal=True, gap="small", vertical_alignment="top"):
        st.caption(caption or "")
        st.download_button(
            "CSV",
            lambda: csv_bytes(rows),
            file_name=f"{key}.csv",
            mime="text/csv",
            key=f"{key}-csv",
            icon=":material/download:",
            on_click="ignore",
            help="All rows and columns of this table, in base units (bytes, MACs, seconds).",
        )
        st.download_button(
            "LaTeX",
            lambda: latex_bytes(rows if shown is None else shown),
            file_name=f"{key}.tex",
            mime="application/x-tex",
            key=f"{key}-latex",
            icon=":material/download:",
            on_click="ignore",
            help="This table for a paper, with the package booktabs.",
        )
