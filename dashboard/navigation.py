"""The pages, in the order in which a visitor meets them."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from asi_core.settings import APP


class PageEntry(NamedTuple):
    """One page: its file in `pages/`, its title, its icon, and whether it is about what
    the setup says, which is open in its sidebar then."""

    file: str
    title: str
    icon: str
    has_setup: bool = False

    @property
    def path(self) -> str:
        """Its address below the app's: the first page is at the root."""
        return "" if self == PAGES[0] else self.file


PAGES = (
    PageEntry("explore", "Explore", ":material/tune:", has_setup=True),
    PageEntry("train", "Train", ":material/model_training:", has_setup=True),
    PageEntry("spectra", "Spectra", ":material/equalizer:"),
    PageEntry("compare", "Compare", ":material/compare_arrows:"),
    PageEntry("plan", "Plan", ":material/savings:", has_setup=True),
    PageEntry("poster", "Poster", ":material/table_chart:"),
    PageEntry("learn", "Learn", ":material/school:"),
)


def streamlit_page(page: PageEntry) -> StreamlitPage:
    """The page as Streamlit wants it: for its navigation, and to be switched to."""
    path = APP / "pages" / f"{page.file}.py"
    return st.Page(path, title=page.title, icon=page.icon, default=page == PAGES[0])


def has_setup(page: StreamlitPage) -> bool:
    """Whether the page is about what the setup says."""
    return any(entry.has_setup and entry.path == page.url_path for entry in PAGES)


def switch_to(file: str, query: dict[str, str]) -> None:
    """Leave for the page in `pages/<file>.py` with these parameters in its address."""
    page = next(page for page in PAGES if page.file == file)
    st.switch_page(streamlit_page(page), query_params=query)
