"""Places of points' labels at which none covers another, or what else is drawn.

The browser decides how large a figure is. Every edge of a box is therefore a share of the plot
plus some pixels, and a place is free only if it is so at the least size and at any larger one: to
zoom in makes a larger one, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

# Of a text, in font sizes: what a character takes on average, and a line. The app's own font takes
# less (0.4), most system fonts of exported pages do, too.
_CHARACTER, _LINE = 0.5, 1.3
_FONT = 12
# Pixels between a point's centre and its label, as plotly.js places it, for markers of MARKER.
MARKER = 13
_AWAY = 0.8 * MARKER / 2 + 1
# plotly.js's names of the four corners, in the order in which they are tried: below and to the left
# of the best points there is nothing, above the others neither.
_CORNERS = {
    "top left": (-1, 1),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "bottom left": (-1, -1),
}


@dataclass(frozen=True, slots=True)
class Edge:
    """A place on one axis: a share of the plot's length, and pixels that are added."""

    share: float
    pixels: float = 0.0

    def at(self, length: float) -> float:
        """Pixels from the start of a plot of this length."""
        return self.share * length + self.pixels


@dataclass(frozen=True, slots=True)
class Box:
    """What a thing covers; vertically upwards."""

    left: Edge
    right: Edge
    bottom: Edge
    top: Edge


@dataclass(frozen=True, slots=True)
class Label:
    """The text at a point; `x` and `y` are shares of the plot from its lower left corner."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class PlotSize:
    """The least size of the area between the axes, in pixels of the page's text size."""

    width: float
    height: float


def place_labels(
    labels: Sequence[Label],
    least: PlotSize,
    *,
    obstacles: Iterable[Box] = (),
    background: Iterable[Box] = (),
) -> list[str | None]:
    """A place for each label at which it can be read, in a plot of the least size or larger.

    Earlier labels come first. A label stays inside the plot, and covers no marker of a label, be it
    shown or not, no obstacle, and no label that is shown.

    Args:
        obstacles: what must stay free besides.
        background: what a label may cover if there is no other place.

    Returns:
        plotly's `textposition` of each label; None if there is no room for it.

    Example:
        >>> near = [Label(0.5, 0.5, "rank 4"), Label(0.5, 0.5, "rank 5"), Label(0.5, 0.5, "")]
        >>> place_labels(near, PlotSize(300, 200))
        ['top left', 'top right', None]
    """
    taken = [*obstacles, *(marker_box(label.x, label.y) for label in labels)]
    faint = list(background)
    found: list[str | None] = []
    for label in labels:
        boxes = {corner: label_box(label, corner) for corner in _CORNERS if label.text}
        free = [corner for corner, box in boxes.items() if _is_free(box, taken, least)]
        best = (c for c in free if not _covers_any(boxes[c], faint, least))
        place = next(best, free[0] if free else None)
        if place is not None:
            taken.append(boxes[place])
        found.append(place)
    return found


def label_box(label: Label, place: str) -> Box:
    """What a label covers at one of the four corners of its point."""
    right, up = _CORNERS[place]
    left_edge, right_edge = _beside(label.x, text_width(label.text), right)
    bottom, top = _beside(label.y, _LINE * _FONT, up)
    return Box(left_edge, right_edge, bottom, top)


def _beside(share: float, length: float, side: int) -> tuple[Edge, Edge]:
    """A stretch after a point (`side` 1) or before it (-1)."""
    ends = sorted((side * _AWAY, side * (_AWAY + length)))
    return Edge(share, ends[0]), Edge(share, ends[1])


def text_width(text: str) -> float:
    """Pixels that a line of a label takes at most."""
    return _CHARACTER * _FONT * len(text)


def marker_box(x: float, y: float) -> Box:
    """What a marker at a point covers, up to where its own label starts."""
    return Box(Edge(x, -_AWAY), Edge(x, _AWAY), Edge(y, -_AWAY), Edge(y, _AWAY))


def may_overlap(one: Box, other: Box, least: PlotSize) -> bool:
    """Whether two boxes cover each other in a plot of the least size or any larger."""
    return _meet((one.left, one.right), (other.left, other.right), least.width) and _meet(
        (one.bottom, one.top), (other.bottom, other.top), least.height
    )


def _is_free(box: Box, taken: Iterable[Box], least: PlotSize) -> bool:
    inside = _lies_within(box.left, box.right, least.width) and _lies_within(
        box.bottom, box.top, least.height
    )
    return inside and not _covers_any(box, taken, least)


def _covers_any(box: Box, others: Iterable[Box], least: PlotSize) -> bool:
    return any(may_overlap(box, other, least) for other in others)


def _lies_within(start: Edge, end: Edge, least: float) -> bool:
    """Whether a stretch is inside the axis at its least length; it then is at any larger."""
    return start.at(least) >= 0 and end.at(least) <= least


def _meet(one: tuple[Edge, Edge], other: tuple[Edge, Edge], least: float) -> bool:
    """Whether two stretches have a part in common at some length of the axis from `least` on."""
    low, high = least, inf
    # Each starts before the other ends: two conditions that are linear in the length.
    for start, end in ((one[0], other[1]), (other[0], one[1])):
        slope, offset = end.share - start.share, end.pixels - start.pixels
        if slope == 0:
            if offset <= 0:
                return False
        elif slope > 0:
            low = max(low, -offset / slope)
        else:
            high = min(high, -offset / slope)
    return low < high
