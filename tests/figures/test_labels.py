"""Places of labels; tests/figures/test_pareto.py checks those of a figure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asi_core.figures.labels import (
    Box,
    Edge,
    Label,
    PlotSize,
    label_box,
    marker_box,
    may_overlap,
    place_labels,
)

LEAST = PlotSize(300, 200)
shares = st.floats(0, 1)
labels = st.builds(Label, shares, shares, st.sampled_from(["", "r 4", "80 %, 8 layers"]))
edges = st.builds(Edge, shares, st.integers(-40, 40).map(float))


def boxes() -> st.SearchStrategy[Box]:
    """Boxes whose start is before their end at any size."""

    def ordered(ends: tuple[Edge, Edge]) -> tuple[Edge, Edge]:
        (a, b), (c, d) = sorted(e.share for e in ends), sorted(e.pixels for e in ends)
        return Edge(a, c), Edge(b, d)

    stretch = st.tuples(edges, edges).map(ordered)
    return st.tuples(stretch, stretch).map(lambda s: Box(*s[0], *s[1]))


def cover(one: Box, other: Box, width: float, height: float) -> bool:
    """Whether two boxes cover each other in a plot of one size."""
    return (
        one.left.at(width) < other.right.at(width)
        and other.left.at(width) < one.right.at(width)
        and one.bottom.at(height) < other.top.at(height)
        and other.bottom.at(height) < one.top.at(height)
    )


@given(boxes(), boxes(), st.floats(1, 100), st.floats(1, 100))
def test_boxes_that_may_not_overlap_never_do(
    one: Box, other: Box, wider: float, higher: float
) -> None:
    if not may_overlap(one, other, LEAST):
        assert not cover(one, other, LEAST.width * wider, LEAST.height * higher)
    assert may_overlap(one, other, LEAST) == may_overlap(other, one, LEAST)
    if cover(one, other, LEAST.width, LEAST.height):
        assert may_overlap(one, other, LEAST)


few_boxes = st.lists(boxes(), max_size=4)


@given(st.lists(labels, max_size=15), few_boxes, few_boxes)
def test_labels_cover_no_label_marker_or_obstacle(
    found: list[Label], obstacles: list[Box], background: list[Box]
) -> None:
    around = {"obstacles": obstacles, "background": background}
    places = place_labels(found, LEAST, **around)
    shown = [label_box(la, pl) for la, pl in zip(found, places, strict=True) if pl is not None]
    others = [*obstacles, *(marker_box(label.x, label.y) for label in found)]
    for i, box in enumerate(shown):
        assert not any(may_overlap(box, other, LEAST) for other in (*shown[:i], *others))
        assert box.left.at(LEAST.width) >= 0
        assert box.right.at(LEAST.width) <= LEAST.width
        assert box.bottom.at(LEAST.height) >= 0
        assert box.top.at(LEAST.height) <= LEAST.height
    assert place_labels(found, LEAST, **around) == places, "the same figure, the same places"


def test_the_first_labels_are_placed_first() -> None:
    crowd = [Label(0.5, 0.5, "first"), *(Label(0.5, 0.5, f"other {n}") for n in range(9))]
    places = place_labels(crowd, LEAST)
    assert places[:4] == ["top left", "top right", "bottom right", "bottom left"]
    assert places[4:] == [None] * 6
    assert place_labels([Label(0.5, 0.5, "no room " * 9)], LEAST) == [None]


def test_the_background_is_covered_only_where_nothing_else_is_free() -> None:
    alone, corner = [Label(0.5, 0.5, "alone")], marker_box(0.45, 0.52)
    everything = Box(Edge(0), Edge(1), Edge(0), Edge(1))
    assert place_labels(alone, LEAST, background=[corner]) == ["top right"]
    assert place_labels(alone, LEAST, background=[everything]) == ["top left"]
    assert place_labels(alone, LEAST, obstacles=[everything]) == [None]
