"""Explore: what every method would keep and cost, at once, without training."""

from __future__ import annotations

import streamlit as st

from dashboard.explore.answers import answer_sentence, kpis
from dashboard.explore.calibration import (
    calibration_panel,
    default_is_calibrated,
    known_calibration,
)
from dashboard.explore.compared import compared
from dashboard.explore.device_cards import device_cards
from dashboard.explore.equations import formula_drawer
from dashboard.explore.measuring import measure_panel
from dashboard.explore.numbers import numbers_table
from dashboard.explore.pictures import pictures
from dashboard.explore.settings import explore_controls
from dashboard.explore.training import train_link
from dashboard.frame import answer, draw, kpi_row, question
from dashboard.links import names_in_url


def main() -> None:
    """Draw the page."""
    question("What would it save?")
    if unknown := names_in_url():
        st.warning(unknown)
    with st.sidebar:
        settings, view = explore_controls(variance_first=default_is_calibrated())
    by_variance = settings.explained_variance is not None
    calibration = known_calibration(settings) if by_variance else None
    costs = compared(settings, calibration)
    answer(answer_sentence(settings, costs))
    if by_variance and calibration is None:
        calibration_panel(settings)
    kpi_row(kpis(costs, view))
    train_link(settings)
    pictures(settings, view, costs)
    device_cards(settings, costs)
    formula_drawer(settings, costs)
    numbers_table(costs)
    measure_panel(settings)


if __name__ == "__main__":
    draw(main)
