"""The figure of a step: its levels against a count by hand, and what is marked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.costs.timeline.records import Category, Lifetime, Moment, Phase, Timeline, Use
from asi_core.errors import InvalidInput
from asi_core.figures.step import MOST_POINTS, USES, plot_step, step_levels, where
from asi_core.units import MIB

KEPT = str(Category.TRAINED_INPUTS)
# The uses of most steps, in the order of the stack, from below.
USUAL = (Use.GRADIENTS, KEPT, str(Category.ACTIVATIONS), str(Category.HEAD_AND_LOSS))
USUAL += (Use.TRANSIENT, Use.INSIDE)


def moments(count: int, inside: int = 0) -> tuple[Moment, ...]:
    """The first half forward, the rest backward, the last the update."""
    phases: list[Phase] = ["forward"] * (count // 2) + ["backward"] * (count - count // 2)
    phases[-1] = "update"
    return tuple(Moment(phase, f"layer{i}", "op", inside) for i, phase in enumerate(phases))


def a_step(nbytes: int = 6 * MIB, count: int = 12) -> Timeline:
    """A weight of 1 MiB lies there; `nbytes` are kept until the middle of the backward pass."""
    weight = Lifetime(MIB, Use.TRAINED_WEIGHTS, "fc", -1, count)
    kept = Lifetime(nbytes, KEPT, "fc", 2, count - 2)
    passing = Lifetime(MIB, Use.TRANSIENT, "fc", count - 4, count - 3)
    return Timeline("formula", "cpu", moments(count), (weight, kept, passing))


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    count = draw(st.integers(1, 40))
    uses = st.sampled_from([*USES, "a use of another version"])
    lives = []
    for _ in range(draw(st.integers(0, 12))):
        first = draw(st.integers(-1, count - 1))
        end = draw(st.integers(max(first, 0) + (first >= 0), count))
        lives.append(Lifetime(draw(st.integers(0, 1000)), draw(uses), "fc", first, end))
    return Timeline("measured", "cpu", moments(count, draw(st.integers(0, 50))), tuple(lives))


@given(timelines(), st.booleans())
def test_levels_are_what_is_alive_by_use(timeline: Timeline, with_base: bool) -> None:
    (found,) = step_levels({"ASI": timeline}, with_base=with_base)
    before = [one for one in timeline.lifetimes if one.first < 0]
    for place, index in enumerate(found.shown):
        by_use: dict[str, int] = {}
        for life in timeline.lifetimes:
            if life.first <= index < life.end:
                by_use[life.use] = by_use.get(life.use, 0) + life.nbytes
        for life in before if not with_base else ():
            by_use[life.use] = by_use.get(life.use, 0) - life.nbytes
        inside = by_use.get(Use.INSIDE, 0) + timeline.moments[index].inside_bytes
        by_use[Use.INSIDE] = inside
        drawn = {use: levels[place] for use, levels in found.levels.items() if levels[place]}
        assert drawn == {use: nbytes for use, nbytes in by_use.items() if nbytes}
        assert found.totals[place] == sum(by_use.values())
    assert found.peak_bytes == max(found.totals)
    base = sum(life.nbytes for life in before) if with_base else 0
    assert found.peak_bytes == timeline.peak.nbytes + base


@given(st.integers(1, 3 * MOST_POINTS), st.data())
def test_thinning_keeps_the_peak_and_each_part_of_the_step(count: int, data: st.DataObject) -> None:
    highest = data.draw(st.integers(0, count - 1))
    spike = Lifetime(7, Use.TRANSIENT, "fc", highest, highest + 1)
    (found,) = step_levels({"ASI": Timeline("formula", "cpu", moments(count), (spike,))})
    assert len(found.shown) == min(count, MOST_POINTS)
    assert found.totals[found.shown.index(highest)] == found.peak_bytes == 7
    assert found.peak.index == highest
    widest = max((b - a for a, b in pairwise(found.shown)), default=1)
    assert widest <= 2 * -(-count // MOST_POINTS)
    assert (found.spans[0].first, found.spans[-1].end) == (0, count)


def test_a_step_without_an_operator_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a step must run an operator"):
        plot_step({"ASI": Timeline("formula", "cpu", (), ())})


def test_all_panels_have_one_linear_axis_from_zero_with_room_for_names() -> None:
    figure = plot_step({"Vanilla": a_step(), "ASI": a_step(MIB)})
    axes = [figure.layout.yaxis, figure.layout.yaxis2]
    assert [axis.type for axis in axes] == [None, None], "linear"
    assert axes[1].matches == "y"
    low, high = axes[0].range
    assert low == 0
    assert high > 1.25 * 7, "the kept 6 MiB and the passing one"
    assert axes[0].title.text == "MiB"


def test_peaks_are_marked_and_named_in_the_middle_of_their_panels() -> None:
    figure = plot_step({"Vanilla": a_step(), "ASI": a_step(MIB)})
    peaks = [trace for trace in figure.data if trace.name == "peak"]
    assert [(trace.x, trace.y) for trace in peaks] == [((8,), (7.0,)), ((8,), (2.0,))]
    notes = [note for note in figure.layout.annotations if "<b>" in note.text]
    assert notes[0].text == "<b>7\u202fMiB</b><br>backward of<br>layer8"
    assert [(note.x, note.xref, note.y) for note in notes] == [
        (0.5, "x domain", 7.0),
        (0.5, "x2 domain", 2.0),
    ]


def test_a_long_place_is_shortened_at_its_beginning() -> None:
    place = "features.encoder.blocks.15.expand_conv"
    step = Timeline("formula", "cpu", (Moment("forward", place, "op", 9),), ())
    (note,) = [n.text for n in plot_step({"ASI": step}).layout.annotations if "<b>" in n.text]
    assert note.endswith("<br>…15.expand_conv")
    assert place in where(step.moments[0])


def test_what_was_there_before_is_an_option_below_all_else() -> None:
    without, with_base = (plot_step({"ASI": a_step()}, with_base=base) for base in (False, True))
    names = [trace.name for trace in with_base.data]
    assert names == [Use.TRAINED_WEIGHTS, KEPT, Use.TRANSIENT, "all together", "peak"]
    assert [trace.name for trace in without.data] == names[1:]
    assert with_base.data[-1].y[0] == 8.0
    assert without.data[-1].y[0] == 7.0


def test_each_use_has_one_legend_entry() -> None:
    data = plot_step({"Vanilla": a_step(), "ASI": a_step(MIB)}).data
    shown = [trace.name for trace in data if trace.showlegend]
    assert sorted(shown) == sorted({KEPT, Use.TRANSIENT})


def test_phases_are_named_below_the_axis_and_backward_is_shaded() -> None:
    figure = plot_step({"ASI": a_step()})
    assert list(figure.layout.xaxis.ticktext) == ["forward", "backward"]
    shaded = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in shaded] == [(5.5, 10.5)]


def test_many_micro_batches_are_counted_instead() -> None:
    phases: list[Phase] = ["forward", "backward"] * 16 + ["update"]
    step = Timeline("formula", "cpu", tuple(Moment(p, "fc", "op", 1) for p in phases), ())
    assert list(plot_step({"ASI": step}).layout.xaxis.ticktext) == ["16 × forward, backward"]


def test_updates_within_a_backward_pass_are_part_of_it() -> None:
    phases: list[Phase] = ["forward", "backward", "update", "backward", "update", "update"]
    step = Timeline("formula", "cpu", tuple(Moment(p, "fc", "op", 1) for p in phases), ())
    (found,) = step_levels({"ASI": step})
    spans = [(span.phase, span.first, span.end) for span in found.spans]
    assert spans == [("forward", 0, 1), ("backward", 1, 4), ("update", 4, 6)]


def test_every_use_has_a_style_of_its_own() -> None:
    assert set(USES) == {*map(str, Use), *map(str, Category)}
    assert len({style.color for style in USES.values()}) == len(USES)


@pytest.mark.parametrize("order", [tuple(USES), USUAL], ids=["all", "usual"])
def test_neighbours_in_the_stack_can_be_told_apart_in_grey(order: tuple[str, ...]) -> None:
    for below, above in pairwise(order):
        ends = sorted(luminance(USES[use].color) + 0.05 for use in (below, above))
        differs = USES[below].pattern != USES[above].pattern
        assert differs or ends[1] / ends[0] > 1.4, (below, above)


def luminance(color: str) -> float:
    """Relative luminance as the Web Content Accessibility Guidelines define it."""
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
