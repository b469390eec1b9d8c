"""Figures of the lessons."""

from plotly.graph_objects import Figure

__all__ = ["Figure"]
