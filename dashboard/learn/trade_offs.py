"""Lesson 4: trade-offs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.figures.equal_memory import PricedCurve, PricedPoint
from asi_core.figures.lessons.guess import plot_guess
from asi_core.figures.lessons.trade_offs import plot_depths, plot_rank_ratios
from asi_core.figures.style import Drawing, Figure
from asi_core.figures.totals import TotalRow, draw_totals
from asi_core.methods import ASI, HOSVD, Method, Vanilla
from asi_core.records import HEAD_LABEL
from asi_core.results.poster_study import method_label
from asi_core.results.statistics import Difference, seeds_difference
from asi_core.units import (
    KIB,
    MIB,
    THIN_SPACE,
    format_bytes,
    layer_count,
    less_or_more,
    signed,
    times,
)
from asi_core.zoo.cards import model_card
from dashboard.frame import axis_control, figure, short_percent
from dashboard.learn.controls import RANKS, USUAL_RANK, Controls
from dashboard.learn.evidence import STUDY, Study, StudyPoint, study, study_cost
from dashboard.learn.lesson import Lesson, Question, Reveal

_BUDGETS_KIB = tuple(2**power for power in range(4, 16))
_FIRST_BUDGET_KIB = 512
_FORMULA, _MEASURED = "formula", "measured"
_MEMORY = {_FORMULA: "inputs kept (formula)", _MEASURED: "all that is saved (measured)"}
_SPAN = (-5.0, 15.0)
_NETWORK = (
    f"the last {STUDY.layers} convolutions of {model_card(STUDY.model).title}, batch "
    f"{STUDY.batch_size}, {STUDY.image_size} pixels"
)


def question() -> Question:
    found = study()
    return _about_rank() if found is None else _about_accuracy(found)


def _about_accuracy(found: Study) -> Question:
    vanilla, asi = found.deepest
    text = (
        f"{model_card(STUDY.model).title}, pretrained on ImageNet, learns CIFAR-10 in "
        f"{STUDY.steps} steps. A new classifier alone is right about "
        f"{short_percent(found.head.mean_accuracy)} of the test images; with the last "
        f"{vanilla.layers} convolutions trained too, it is right about "
        f"{short_percent(vanilla.mean_accuracy)}, and {format_bytes(vanilla.activation_bytes)} of "
        f"their inputs are kept. {method_label(asi.method)}, keeps "
        f"{format_bytes(asi.activation_bytes)}, "
        f"{less_or_more(asi.activation_bytes, vanilla.activation_bytes)}.\n\n"
        "**How many percentage points of test accuracy does that cost?**"
    )
    label = "Points of accuracy lost (below 0: gained)"
    return Question(text, label, *_SPAN, 5.0, "points", step=0.1)


def _about_rank() -> Question:
    text = (
        f"ASI trains {_NETWORK}, with rank {USUAL_RANK} in every mode.\n\n**How many times fewer "
        "bytes of the inputs does it keep than plain back-propagation?**"
    )
    return Question(text, "Times fewer bytes", 1.0, 200.0, 4.0, "×", step=1.0)


def picture() -> tuple[Figure | Drawing, str]:
    """Accuracy and memory of vanilla, and where ASI's memory is; without runs, vanilla's memory."""
    found = study()
    if found is None:
        size = study_cost(Vanilla()).activation_bytes
        kind, text = Vanilla.class_kind(), format_bytes(size)
        row = TotalRow(Vanilla.label, kind, text, [size / MIB], [text], "")
        plot = draw_totals([row], title="Kept for backward (formula)", unit="MiB", log=False)
        return plot, "Formula: the trained layers' inputs as they are kept."
    asi = found.deepest[1]
    return plot_depths(
        [_curve(found.vanilla, _FORMULA)],
        found.head.mean_accuracy,
        asi.activation_bytes,
        f"{ASI.label}, {layer_count(asi.layers)}: {format_bytes(asi.activation_bytes)}",
        memory=_MEMORY[_FORMULA],
    ), f"Accuracies are measured ({found.origin}), {_seeds_note(found.points)}; memory is formula."


def run(controls: Controls) -> None:
    found = study()
    if found is None:
        st.info(
            "The precomputed runs of this lesson are missing from this installation: it uses "
            "formulas instead, which say nothing about accuracy."
        )
    else:
        _budget(controls, found)
    _by_rank(controls)


def _budget(controls: Controls, found: Study) -> None:
    columns = st.columns(2)
    with columns[0]:
        budget_kib = controls.scale(
            "budget_kib",
            "Device budget, KiB",
            _BUDGETS_KIB,
            start=_FIRST_BUDGET_KIB,
            hint="The device's memory for back-propagation. A small microcontroller has 256 KiB.",
        )
    with columns[1]:
        memory = controls.choice(
            "memory",
            "Memory",
            list(_MEMORY),
            start=_FORMULA,
            title=lambda name: _MEMORY.get(name, name),
            hint="Only the trained layers' inputs, as papers count, or everything that PyTorch "
            "saves for backward.",
        )
    points = [_priced(point, memory) for point in found.points]
    chosen = best_within(points, budget_kib * KIB)
    st.markdown(f"##### {_choice_text(points, chosen, budget_kib * KIB)}")
    log = axis_control("this figure")

    def drawn(*, log: bool) -> Figure:
        return plot_depths(
            [_curve(found.vanilla, memory), _curve(found.asi, memory)],
            found.head.mean_accuracy,
            budget_kib * KIB,
            f"budget {format_bytes(budget_kib * KIB)}",
            chosen=chosen if chosen is not None and (chosen.price or not log) else None,
            memory=_MEMORY[memory],
            log=log,
        )

    figure(
        drawn(log=log),
        other_axis=partial(drawn, log=not log),
        key="trade-offs-budget",
        caption=f"Accuracies are measured ({found.origin}), {_seeds_note(found.points)}. Memory: "
        f"{_MEMORY[memory]}. From left to right more layers are trained.",
    )


def best_within(points: Sequence[PricedPoint], budget_bytes: float) -> PricedPoint | None:
    """The most accurate point that fits, the cheapest of equal ones; None if none fits."""
    fitting = [point for point in points if point.price <= budget_bytes]
    return max(fitting, key=lambda point: (point.accuracy, -point.price), default=None)


def _choice_text(points: Sequence[PricedPoint], chosen: PricedPoint | None, budget: float) -> str:
    if chosen is None:
        least = min(point.price for point in points)
        return (
            f"Nothing fits into {format_bytes(budget)}: the smallest of these runs needs "
            f"{format_bytes(least)}"
        )
    return (
        f"Into {format_bytes(budget)} fits {chosen.label}: {format_bytes(chosen.price)} for "
        f"{short_percent(chosen.accuracy)} test accuracy"
    )


def _curve(points: Mapping[int, StudyPoint], memory: str) -> PricedCurve:
    method = next(iter(points.values())).method
    priced = tuple(_priced(point, memory) for point in points.values())
    return PricedCurve(method_label(method), method.kind, priced)


def _priced(point: StudyPoint, memory: str) -> PricedPoint:
    label = f"{method_label(point.method)}, {layer_count(point.layers)}"
    return PricedPoint(
        label if point.layers else HEAD_LABEL,
        point.mean_accuracy,
        point.activation_bytes if memory == _FORMULA else point.saved_bytes,
    )


def _seeds_note(points: Sequence[StudyPoint]) -> str:
    counts = sorted({len(point.accuracy) for point in points})
    if counts[-1] == 1:
        return "one seed per point"
    return f"means over {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"


def _asi(rank: int) -> Method:
    """As published, and as in the study."""
    return ASI(ranks=rank, update="every_step")


def _by_rank(controls: Controls) -> None:
    rank = controls.rank()
    vanilla, asi = study_cost(Vanilla()), study_cost(_asi(rank))
    st.markdown(
        f"##### Rank {rank} keeps {times(vanilla.activation_bytes / asi.activation_bytes)} fewer "
        f"bytes for {times(asi.macs.total / vanilla.macs.total)} the multiply-accumulates of "
        "vanilla"
    )
    figure(
        plot_rank_ratios(RANKS, _ratios(vanilla), rank),
        key="trade-offs-ranks",
        caption=f"Formula, exact convention: {_NETWORK}.",
    )


def _ratios(vanilla: StepCost) -> list[tuple[str, str, list[float]]]:
    asi = [study_cost(_asi(rank)) for rank in RANKS]
    hosvd = [study_cost(HOSVD(ranks=rank)) for rank in RANKS]
    bytes_kept = [cost.activation_bytes / vanilla.activation_bytes for cost in asi]
    work, hosvd_work = (
        [cost.macs.total / vanilla.macs.total for cost in costs] for costs in (asi, hosvd)
    )
    return [
        ("bytes kept, ASI or HOSVD", ASI.class_kind(), bytes_kept),
        ("MACs, ASI", ASI.class_kind(), work),
        ("MACs, HOSVD", HOSVD.class_kind(), hosvd_work),
    ]


def points_lost(found: Study) -> float:
    """Percentage points by which ASI is below vanilla with the most layers, over common seeds,
    whose images came in the same order, or over all without them."""
    vanilla, asi = found.deepest
    common = asi.accuracy.keys() & vanilla.accuracy.keys()
    if not common:
        return 100 * (vanilla.mean_accuracy - asi.mean_accuracy)
    return 100 * sum(vanilla.accuracy[s] - asi.accuracy[s] for s in common) / len(common)


def reveal(guess: float) -> Reveal:
    found = study()
    return _reveal_rank(guess) if found is None else _reveal_accuracy(guess, found)


def _reveal_accuracy(guess: float, found: Study) -> Reveal:
    vanilla, asi = found.deepest
    truth = points_lost(found)
    difference = seeds_difference(vanilla.accuracy, asi.accuracy)
    return Reveal(
        truth=truth,
        meaning=f"({short_percent(asi.mean_accuracy)}{_chance(difference)})",
        plot=plot_guess(guess, truth, title="Your guess and the truth", unit="points", span=_SPAN),
        caption=f"Measured ({found.origin}), {_seeds_note(found.points)}.",
        explanation=_EXPLANATION,
    )


def _chance(difference: Difference | None) -> str:
    """What is chance about a difference, such as "; 95 % interval 1.2 to 3.4 points"."""
    if difference is None or difference.interval is None:
        return ""
    low, high = (signed(100 * end) for end in (difference.interval.low, difference.interval.high))
    tie = ", a tie" if difference.is_tie else ""
    return f"; 95{THIN_SPACE}% interval {low} to {high} points{tie}"


def _reveal_rank(guess: float) -> Reveal:
    vanilla, asi = study_cost(Vanilla()), study_cost(_asi(USUAL_RANK))
    truth = vanilla.activation_bytes / asi.activation_bytes
    return Reveal(
        truth=truth,
        meaning=f"({format_bytes(asi.activation_bytes)} for "
        f"{format_bytes(vanilla.activation_bytes)})",
        plot=plot_guess(
            guess, truth, title="Your guess and the truth", unit="×", span=(1.0, 200.0)
        ),
        caption="Formula, exact convention: core and factors of each trained layer's input.",
        explanation=_EXPLANATION,
    )


_EXPLANATION = (
    "ASI discards the directions with the least energy, so the weight gradient loses something, "
    "but the bytes fall at once: the product of four small ranks is tiny. There are three "
    "trade-offs. **Memory against accuracy**: set by the explained variance, the ranks, and how "
    "many layers are trained. For the bytes of one layer's whole input, ASI trains many. **Memory "
    "against computation**: finding the directions costs multiply-accumulates, working with small "
    "inputs saves some. **Formula against measurement**: formulas count the inputs of trained "
    "layers; a device must hold everything that is saved. No run is best in all three: your budget "
    "picks one."
)


LESSON = Lesson(
    slug="trade-offs",
    title="Trade-offs",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="With whole inputs your device has room for one trained layer; with ASI for all of "
    "these. What do the points lost by compression cost you, compared with those gained by more "
    "layers?",
    hint="Compare one layer of vanilla with the linear probe, then with ASI at the same bytes. "
    "Then count everything that is saved instead of only the inputs: which runs still fit into "
    "your device?",
)
