"""Figures: functions from plain rows to a plotly Figure, for pages and notebooks alike."""
