"""Figures: functions from plain rows to a Plotly figure, for pages and notebooks."""
