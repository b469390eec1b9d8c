"""Learn: five lessons of predict, run, reveal and take home."""

from __future__ import annotations

import streamlit as st

from dashboard.learn import address
from dashboard.learn.page import draw_all, draw_one


def main() -> None:
    """Draw the page."""
    if address.is_lecturers():
        draw_one(st.query_params[address.LESSON])
    else:
        draw_all()


if __name__ == "__main__":
    main()
