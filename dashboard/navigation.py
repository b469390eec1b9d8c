"""The pages, in the order of the menu."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from asi_core.settings import APP
from dashboard import links


class PageEntry(NamedTuple):
    """A page: its file in `pages/`, title, icon, and whether its sidebar is open at first."""

    file: str
    title: str
    icon: str
    opens_sidebar: bool = False

    @property
    def path(self) -> str:
        """Its path below the app's address; empty for the first page."""
        return "" if self == PAGES[0] else self.file


PAGES = (
    PageEntry("explore", "Explore", ":material/tune:", opens_sidebar=True),
    PageEntry("step", "Step", ":material/area_chart:", opens_sidebar=True),
    PageEntry("train", "Train", ":material/model_training:", opens_sidebar=True),
    PageEntry("spectra", "Spectra", ":material/equalizer:"),
    PageEntry("compare", "Compare", ":material/compare_arrows:", opens_sidebar=True),
    PageEntry("plan", "Plan", ":material/savings:", opens_sidebar=True),
    PageEntry("poster", "Poster", ":material/table_chart:"),
    PageEntry("learn", "Learn", ":material/school:"),
)


def streamlit_page(page: PageEntry) -> StreamlitPage:
    """The page as a Streamlit page."""
    path = APP / "pages" / f"{page.file}.py"
    return st.Page(path, title=page.title, icon=page.icon, default=page == PAGES[0])


def lead_on(page: StreamlitPage, query: dict[str, str]) -> None:
    """A link with a lesson leads to the lessons from every page."""
    if "lesson" in query and page.url_path != "learn":
        switch_to("learn", query)


def opens_sidebar(page: StreamlitPage) -> bool:
    """Whether the page's sidebar is open at first."""
    return any(entry.opens_sidebar and entry.path == page.url_path for entry in PAGES)


def switch_to(file: str, query: dict[str, str]) -> None:
    """Switch to the page in `pages/<file>.py` with these URL parameters, and those of the setup."""
    links.address_was_cleared()
    page = next(page for page in PAGES if page.file == file)
    st.switch_page(streamlit_page(page), query_params=query)
