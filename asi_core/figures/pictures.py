"""A figure of small pictures: channels as columns, before and after as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

Tile = Sequence[Sequence[float]]

# Gap between pictures, as a share of a picture.
_GAP = 0.08
_ROW_PIXELS, _FRAME_PIXELS = 130, 130


@dataclass(frozen=True, slots=True)
class PictureRow:
    """Pictures of one height and width, one per column."""

    label: str
    tiles: Sequence[Tile]


def plot_pictures(rows: Sequence[PictureRow], columns: Sequence[str], *, title: str) -> go.Figure:
    """Pictures in rows and columns, all with the same colour scale.

    Args:
        rows: at least one, each with one picture per column.
        columns: title of each column.
    """
    height, width = len(rows[0].tiles[0]), len(rows[0].tiles[0][0])
    down, across = height * (1 + _GAP), width + height * _GAP
    figure = go.Figure(
        [
            _tile(tile, row.label, columns[column], down * line, across * column)
            for line, row in enumerate(rows)
            for column, tile in enumerate(row.tiles)
        ]
    )
    middles = [across * column + (width - 1) / 2 for column in range(len(columns))]
    lines = [down * line + (height - 1) / 2 for line in range(len(rows))]
    figure.update_xaxes(
        tickvals=middles,
        ticktext=list(columns),
        tickangle=0,
        range=[-0.5 - height * _GAP, across * len(columns) - 0.5],
    )
    figure.update_yaxes(
        tickvals=lines,
        ticktext=[row.label for row in rows],
        autorange="reversed",
        scaleanchor="x",
        automargin=True,
    )
    figure.update_xaxes(showgrid=False, zeroline=False, ticks="", constrain="domain")
    figure.update_yaxes(
        showgrid=False, zeroline=False, ticks="", constrain="domain", constraintoward="top"
    )
    return figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left", "font": {"size": 16}},
        height=_FRAME_PIXELS + _ROW_PIXELS * len(rows),
        margin={"l": 8, "r": 8, "t": 44, "b": 8},
        coloraxis={
            "colorscale": "Cividis",
            "colorbar": {
                "orientation": "h",
                "thickness": 8,
                "y": -0.25 / len(rows),
                "yanchor": "top",
            },
        },
        uirevision="keep",
    )


def _tile(tile: Tile, row: str, column: str, top: float, left: float) -> go.Heatmap:
    height, width = len(tile), len(tile[0])
    return go.Heatmap(
        z=[list(line) for line in tile],
        x=[left + i for i in range(width)],
        y=[top + i for i in range(height)],
        coloraxis="coloraxis",
        name=f"{row}, {column}",
        hovertemplate=f"{row}, {column}: %{{z:.3g}}<extra></extra>",
    )
