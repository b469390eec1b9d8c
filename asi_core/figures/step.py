"""The memory of one training step over time: methods side by side on one linear axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asi_core.costs.timeline.records import Moment, Peak, Timeline, Use
from asi_core.figures.style import styled
from asi_core.units import GIB, KIB, MIB, format_bytes

# Points per trace: more than a panel has pixels.
MOST_POINTS = 500
_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_HEIGHT = 340
# Room above the highest level for the three lines that name the peak, as a share of the axis.
_HEADROOM = 1.5
_LONGEST_PLACE = 21
# A phase has a name if it is at least this share of a step, and is marked if there are few.
_NAMED_SHARE, _MOST_PASSES, _MOST_SHADED = 0.24, 2, 64
_LINE, _BEHIND = "#4D4D4D", "rgba(127, 127, 127, 0.14)"


@dataclass(frozen=True, slots=True)
class UseStyle:
    """The colour (hex) and Plotly's pattern of a use of memory."""

    color: str
    pattern: str = ""


# In the order in which they are stacked, from below. What lasts is grey, gradients are orange, what
# is kept for backward is blue, green or pink, what passes is yellow or red; neighbours also differ
# in lightness or pattern.
USES: Mapping[str, UseStyle] = {
    Use.FROZEN_WEIGHTS: UseStyle("#E3E3E3"),
    Use.TRAINED_WEIGHTS: UseStyle("#8F8F8F"),
    Use.OPTIMISER: UseStyle("#C6C6C6"),
    Use.WARM_STARTS: UseStyle("#5E5E5E"),
    Use.BATCH: UseStyle("#ADADAD", "."),
    Use.GRADIENTS: UseStyle("#E69F00"),
    "trained layer inputs": UseStyle("#0072B2"),
    "other layer inputs": UseStyle("#9FC8E8", "."),
    "activation functions": UseStyle("#56B4E9"),
    "normalisation": UseStyle("#009E73"),
    "pooling": UseStyle("#B8E0D2"),
    "head and loss": UseStyle("#AA4499"),
    "other": UseStyle("#E8C6D8", "."),
    Use.TRANSIENT: UseStyle("#F0E442"),
    Use.INSIDE: UseStyle("#D55E00", "/"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Operators `first` to `end - 1` of a step, which belong to one phase."""

    phase: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class StepLevels:
    """What a panel shows of a step.

    Attributes:
        count: of the step's operators.
        shown: indices of at most `MOST_POINTS` operators: the highest of each bin.
        moments: these operators.
        levels: use -> bytes at each operator shown, in the order of `USES`. They sum to `totals`.
            Above the base, a use of which the step releases what was there before is negative.
        totals: bytes at each operator shown.
        peak: of the whole step.
        peak_bytes: its level as drawn.
        spans: the phases, in order.
    """

    label: str
    source: str
    count: int
    shown: tuple[int, ...]
    moments: tuple[Moment, ...]
    levels: Mapping[str, tuple[int, ...]]
    totals: tuple[int, ...]
    peak: Peak
    peak_bytes: int
    spans: tuple[Span, ...]


def step_levels(timelines: Mapping[str, Timeline], *, with_base: bool = False) -> list[StepLevels]:
    """What `plot_step` draws: the levels of each step by use, thinned.

    Args:
        timelines: label -> step.
        with_base: whether the levels include what was there before the step (weights, batch,
            optimiser state, warm starts).

    Raises:
        InvalidInput: if a step has no operator.
    """
    return [_levels(label, timeline, with_base) for label, timeline in timelines.items()]


def plot_step(timelines: Mapping[str, Timeline], *, with_base: bool = False) -> go.Figure:
    """Bytes alive at each operator of a step, stacked by use: a panel per method, one linear axis.

    The peak of each step is marked and named.

    Args:
        timelines: label -> step; at least one.
        with_base: as in `step_levels`.

    Raises:
        InvalidInput: if a step has no operator.

    Example:
        >>> from asi_core.costs.timeline.records import Lifetime, Moment, Timeline
        >>> forward = Moment("forward", "fc", "addmm", inside_bytes=0)
        >>> backward = Moment("backward", "fc", "mm", inside_bytes=0)
        >>> kept = Lifetime(4096, "trained layer inputs", "fc", first=0, end=2)
        >>> step = Timeline("formula", "cpu", (forward, backward), (kept,))
        >>> plot_step({"Vanilla": step}).layout.annotations[0].text
        'Vanilla (formula)'
    """
    panels = step_levels(timelines, with_base=with_base)
    highest = max(panel.peak_bytes for panel in panels)
    scale, unit = next((u for u in _UNITS if highest >= u[0]), _UNITS[-1])
    titles = [f"{panel.label} ({panel.source})" for panel in panels]
    figure = make_subplots(
        cols=len(panels), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.025
    )
    used = {use for panel in panels for use in panel.levels}
    named: set[str] = set()
    for column, panel in enumerate(panels, start=1):
        figure.add_traces(list(_areas(panel, scale, unit, named)), rows=1, cols=column)
        _mark_phases(figure, panel, column)
        _mark_peak(figure, panel, column, scale)
    styled(figure, title=_title(with_base), x="", y=unit)
    figure.update_annotations(font={"size": 12}, selector={"yref": "paper"})
    figure.update_layout(
        height=_HEIGHT,
        margin={"t": 64},
        legend={"traceorder": "normal", "y": -0.16, "font": {"size": 11}},
        # A zoom into another scale would not fit.
        uirevision=f"{unit} {with_base} {len(panels)} {sorted(used)}",
    )
    figure.update_yaxes(title_text="", range=[0, _HEADROOM * highest / scale or 1])
    figure.update_yaxes(title_text=unit, col=1)
    return figure.update_xaxes(showgrid=False)


def where(moment: Moment) -> str:
    """The place of a moment within a sentence, such as "in the backward pass of fc"."""
    if moment.phase == "update":
        return "in the update of the weights"
    return f"in the {moment.phase} pass of {moment.place}"


def _levels(label: str, timeline: Timeline, with_base: bool) -> StepLevels:
    base = {} if with_base else timeline.base
    totals = [level - sum(base.values()) for level in timeline.levels()]
    peak, shown = timeline.peak, _thinned(totals)
    ordered = sorted(timeline.uses, key=_place_in_stack)
    levels = {use: _above(timeline.levels(use), base.get(use, 0), shown) for use in ordered}
    return StepLevels(
        label=label,
        source=timeline.source,
        count=len(totals),
        shown=shown,
        moments=tuple(timeline.moments[index] for index in shown),
        levels={use: values for use, values in levels.items() if any(values)},
        totals=tuple(totals[index] for index in shown),
        peak=peak,
        peak_bytes=totals[peak.index],
        spans=tuple(_spans(timeline.moments)),
    )


def _place_in_stack(use: str) -> int:
    order = list(USES)
    return order.index(use) if use in order else len(order)


def _above(levels: Sequence[int], base: int, shown: Sequence[int]) -> tuple[int, ...]:
    return tuple(levels[index] - base for index in shown)


def _thinned(totals: Sequence[int]) -> tuple[int, ...]:
    """Of each of `MOST_POINTS` bins the first index with its highest level."""
    count = len(totals)
    if count <= MOST_POINTS:
        return tuple(range(count))
    edges = [count * number // MOST_POINTS for number in range(MOST_POINTS + 1)]
    return tuple(max(range(*ends), key=totals.__getitem__) for ends in pairwise(edges))


def _spans(moments: Sequence[Moment]) -> list[Span]:
    """The phases, in order; updates within a backward pass belong to it."""
    spans: list[Span] = []
    first = 0
    for phase, run in groupby(moments, key=lambda moment: moment.phase):
        end = first + len(list(run))
        if phase == "backward" and [span.phase for span in spans[-2:]] == ["backward", "update"]:
            first = spans[-2].first
            del spans[-2:]
        spans.append(Span(phase, first, end))
        first = end
    return spans


def _areas(panel: StepLevels, scale: int, unit: str, named: set[str]) -> Iterator[go.Scatter]:
    """An area per use, and the line of all; uses in `named` are in the legend already."""
    for use, values in panel.levels.items():
        style = USES.get(use, UseStyle("#9A9A9A"))
        yield go.Scatter(
            x=panel.shown,
            y=[value / scale for value in values],
            name=use,
            legendgroup=use,
            showlegend=use not in named,
            mode="lines",
            line={"shape": "hvh", "width": 0, "color": style.color},
            stackgroup="uses",
            fillcolor=style.color,
            fillpattern={"shape": style.pattern, "size": 5, "solidity": 0.35},
            hovertemplate=f"%{{y:.3g}} {unit}",
        )
        named.add(use)
    yield go.Scatter(
        x=panel.shown,
        y=[value / scale for value in panel.totals],
        name="all together",
        showlegend=False,
        mode="lines",
        line={"shape": "hvh", "width": 1, "color": _LINE},
        customdata=[f"{where(m)}, {m.operator}" for m in panel.moments],
        hovertemplate=f"%{{y:.3g}} {unit} %{{customdata}}",
    )


def _mark_phases(figure: go.Figure, panel: StepLevels, column: int) -> None:
    """Shade backward passes, and name the phases below the axis."""
    backward = [span for span in panel.spans if span.phase == "backward"]
    if len(backward) <= _MOST_SHADED:
        for span in backward:
            ends = {"x0": span.first - 0.5, "x1": span.end - 0.5}
            figure.add_vrect(**ends, fillcolor=_BEHIND, line_width=0, layer="below", col=column)
    if len(backward) > _MOST_PASSES:
        middle, names = [panel.count / 2], [f"{len(backward)} × forward, backward"]
    else:
        wide = [s for s in panel.spans if s.end - s.first >= _NAMED_SHARE * panel.count]
        middle = [(span.first + span.end - 1) / 2 for span in wide]
        names = [span.phase for span in wide]
    figure.update_xaxes(
        range=[-0.5, panel.count - 0.5],
        tickvals=middle,
        ticktext=names,
        tickangle=0,
        tickfont={"size": 10},
        ticks="",
        col=column,
    )


def _mark_peak(figure: go.Figure, panel: StepLevels, column: int, scale: int) -> None:
    """A point at the peak, a line at its height, and its name above the middle of the line: there
    nothing of the panel is higher, and there is room on both sides."""
    moment, height = panel.peak.moment, panel.peak_bytes / scale
    figure.add_hline(height, line={"dash": "dot", "width": 1, "color": _LINE}, col=column)
    figure.add_trace(
        go.Scatter(
            x=[panel.peak.index],
            y=[height],
            name="peak",
            showlegend=False,
            mode="markers",
            marker={"symbol": "diamond", "size": 9, "color": "#B2182B"},
            hoverinfo="skip",
        ),
        row=1,
        col=column,
    )
    number = "" if column == 1 else column
    figure.add_annotation(
        text="<br>".join((f"<b>{format_bytes(panel.peak_bytes)}</b>", *_short(moment))),
        x=0.5,
        y=height,
        xref=f"x{number} domain",
        yref=f"y{number}",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )


def _short(moment: Moment) -> tuple[str, ...]:
    """The place of a moment in lines that fit into a narrow panel."""
    if moment.phase == "update":
        return ("update of the weights",)
    place, parts = moment.place, moment.place.split(".")
    while len(place) > _LONGEST_PLACE and len(parts) > 1:
        del parts[0]
        place = f"…{'.'.join(parts)}"
    return f"{moment.phase} of", place[:_LONGEST_PLACE]


def _title(with_base: bool) -> str:
    return "Memory of one step" if with_base else "Memory that one step adds"
