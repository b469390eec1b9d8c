"""The pages, in the order in which a visitor meets them."""

from __future__ import annotations

from typing import NamedTuple


class PageEntry(NamedTuple):
    """One page: its file in `pages/`, its title, and its icon."""

    file: str
    title: str
    icon: str

    @property
    def path(self) -> str:
        """Its address below the app's: the first page is at the root."""
        return "" if self == PAGES[0] else self.file


PAGES = (
    PageEntry("explore", "Explore", ":material/tune:"),
    PageEntry("train", "Train", ":material/model_training:"),
    PageEntry("spectra", "Spectra", ":material/equalizer:"),
    PageEntry("compare", "Compare", ":material/compare_arrows:"),
    PageEntry("plan", "Plan", ":material/savings:"),
    PageEntry("poster", "Poster", ":material/table_chart:"),
    PageEntry("learn", "Learn", ":material/school:"),
)
