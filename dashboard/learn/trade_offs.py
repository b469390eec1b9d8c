"""Lesson 4: trade-offs."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.figures.lessons.guess import plot_guess
from asi_core.figures.lessons.trade_offs import plot_budget, plot_rank_ratios
from asi_core.figures.pareto import ParetoRow
from asi_core.figures.style import Drawing
from asi_core.figures.totals import TotalRow, draw_totals
from asi_core.methods import ASI, HOSVD, USUAL_EXPLAINED_VARIANCE, Vanilla
from asi_core.units import KIB, MIB, format_bytes, less_or_more, times
from asi_core.zoo.cards import model_card
from dashboard.frame import figure, short_percent
from dashboard.learn.controls import RANKS, USUAL_RANK, Controls
from dashboard.learn.evidence import USUAL, USUAL_CAPTION, Sweep, SweepPoint, sweep, usual_cost
from dashboard.learn.lesson import Lesson, Question, Reveal

_BUDGETS_KIB = tuple(2**power for power in range(4, 16))
_FIRST_BUDGET_KIB = 256
_FORMULA, _MEASURED = "formula", "measured"
_MEMORY = {_FORMULA: "inputs kept (formula)", _MEASURED: "all that is saved (measured)"}


def question() -> Question:
    found = sweep()
    return _about_rank() if found is None else _about_accuracy(found)


def _about_accuracy(found: Sweep) -> Question:
    share = USUAL_EXPLAINED_VARIANCE
    usual = found.asi[share]
    less = times(found.vanilla.activation_bytes / usual.activation_bytes)
    text = (
        f"The last {USUAL.layers} convolutions of {model_card(USUAL.model).title} are trained for "
        f"{USUAL.steps} steps. With ASI at an explained variance of {share:g} the layers keep "
        f"{format_bytes(usual.activation_bytes)} of their inputs, {less} less than with plain "
        "back-propagation.\n\n**How many percentage points of test accuracy does that cost?**"
    )
    label = "Points of accuracy lost (below 0: gained)"
    return Question(text, label, -5.0, 20.0, 5.0, "points", step=0.1)


def _about_rank() -> Question:
    text = (
        f"ASI trains the last {USUAL.layers} convolutions of {model_card(USUAL.model).title} "
        f"with rank {USUAL_RANK} in every mode, batch size {USUAL.batch_size} and images of "
        f"{USUAL.image_size} pixels.\n\n**How many times fewer bytes of the inputs does it keep "
        "than plain back-propagation?**"
    )
    return Question(text, "Times fewer bytes", 1.0, 200.0, 4.0, "×", step=1.0)


def picture() -> tuple[Drawing, str]:
    """What is kept, which the question tells."""
    found, usual = sweep(), usual_cost(Vanilla())
    if found is None:
        kept = {Vanilla.label: (Vanilla.class_kind(), float(usual.activation_bytes))}
    else:
        points = (found.vanilla, found.asi[USUAL_EXPLAINED_VARIANCE])
        kept = {p.method.label: (p.method.kind, p.activation_bytes) for p in points}
    full = next(iter(kept.values()))[1]
    rows = [
        TotalRow(label, style, _told(size, full), [size / MIB], [format_bytes(size)], "")
        for label, (style, size) in kept.items()
    ]
    plot = draw_totals(rows, title="Kept for backward (formula)", unit="MiB", log=False)
    return plot, "Formula: the trained layers' inputs as they are kept."


def _told(size: float, full: float) -> str:
    return format_bytes(size) + ("" if size == full else f", {less_or_more(size, full)}")


def run(controls: Controls) -> None:
    found = sweep()
    if found is None:
        st.info(
            "The precomputed runs of this lesson are missing from this installation. The lesson "
            "uses formulas instead; to see accuracies too, train vanilla and ASI with the default "
            "settings."
        )
    else:
        _budget(controls, found)
    _by_rank(controls)


def _budget(controls: Controls, found: Sweep) -> None:
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
    rows = [_row(point, memory) for point in found.points]
    chosen = best_within(rows, budget_kib * KIB)
    st.markdown(f"##### {_choice_text(rows, chosen, budget_kib * KIB)}")
    figure(
        plot_budget(rows, budget_kib * KIB, chosen, _MEMORY[memory]),
        key="trade-offs-budget",
        caption=f"Accuracies are measured ({found.origin}); {_seeds_note(found.points)}. Error "
        f"bars are standard deviations. Memory: {_MEMORY[memory]}.",
    )


def best_within(rows: Sequence[ParetoRow], budget_bytes: float) -> ParetoRow | None:
    """The most accurate row whose cost fits, the cheapest of equal ones; None if none fits."""
    fitting = [row for row in rows if row.cost <= budget_bytes]
    return max(fitting, key=lambda row: (row.accuracy, -row.cost), default=None)


def _choice_text(rows: Sequence[ParetoRow], chosen: ParetoRow | None, budget: float) -> str:
    if chosen is None:
        least = min(row.cost for row in rows)
        return (
            f"Nothing fits into {format_bytes(budget)}: the smallest of these runs needs "
            f"{format_bytes(least)}"
        )
    return (
        f"Into {format_bytes(budget)} fits {chosen.label}: {format_bytes(chosen.cost)} for "
        f"{short_percent(chosen.accuracy)} test accuracy"
    )


def _row(point: SweepPoint, memory: str) -> ParetoRow:
    cost = point.activation_bytes if memory == _FORMULA else point.saved_bytes
    share = getattr(point.method, "explained_variance", None)
    return ParetoRow(
        key=point.method.settings_label,
        label=point.method.settings_label,
        mark="" if share is None else f"{share:g}",
        style=point.method.kind,
        accuracy=point.mean_accuracy,
        cost=cost,
        accuracy_deviation=point.deviation,
        facts=(
            f"accuracy {short_percent(point.mean_accuracy)}",
            f"memory {format_bytes(cost)}",
            f"{len(point.accuracy)} seed{'s' if len(point.accuracy) > 1 else ''}",
        ),
    )


def _seeds_note(points: Sequence[SweepPoint]) -> str:
    counts = sorted({len(point.accuracy) for point in points})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    if counts[-1] == 1:
        return "one seed per point, so differences of about one percentage point mean nothing"
    return f"means over {seeds} seeds"


def _by_rank(controls: Controls) -> None:
    rank = controls.rank()
    vanilla, asi = usual_cost(Vanilla()), usual_cost(ASI(ranks=rank))
    st.markdown(
        f"##### Rank {rank} keeps {times(vanilla.activation_bytes / asi.activation_bytes)} fewer "
        f"bytes for {times(asi.macs.total / vanilla.macs.total)} the multiply-accumulates of "
        "vanilla"
    )
    figure(
        plot_rank_ratios(RANKS, _ratios(vanilla), rank),
        key="trade-offs-ranks",
        caption=USUAL_CAPTION,
    )


def _ratios(vanilla: StepCost) -> list[tuple[str, str, list[float]]]:
    asi = [usual_cost(ASI(ranks=rank)) for rank in RANKS]
    hosvd = [usual_cost(HOSVD(ranks=rank)) for rank in RANKS]
    bytes_kept = [cost.activation_bytes / vanilla.activation_bytes for cost in asi]
    work, hosvd_work = (
        [cost.macs.total / vanilla.macs.total for cost in costs] for costs in (asi, hosvd)
    )
    return [
        ("bytes kept, ASI or HOSVD", ASI.class_kind(), bytes_kept),
        ("MACs, ASI", ASI.class_kind(), work),
        ("MACs, HOSVD", HOSVD.class_kind(), hosvd_work),
    ]


def points_lost(found: Sweep) -> float:
    """Percentage points by which ASI at the usual explained variance is below vanilla, over common
    seeds, whose images came in the same order, or over all without them."""
    usual, vanilla = found.asi[USUAL_EXPLAINED_VARIANCE], found.vanilla
    common = usual.accuracy.keys() & vanilla.accuracy.keys()
    if not common:
        return 100 * (vanilla.mean_accuracy - usual.mean_accuracy)
    lost = [vanilla.accuracy[seed] - usual.accuracy[seed] for seed in common]
    return 100 * sum(lost) / len(lost)


def reveal(guess: float) -> Reveal:
    found = sweep()
    return _reveal_rank(guess) if found is None else _reveal_accuracy(guess, found)


def _reveal_accuracy(guess: float, found: Sweep) -> Reveal:
    truth = points_lost(found)
    return Reveal(
        truth=truth,
        meaning=f"(vanilla reaches {short_percent(found.vanilla.mean_accuracy)})",
        plot=plot_guess(
            guess, truth, title="Your guess and the truth", unit="points", span=(-5.0, 20.0)
        ),
        caption=f"Measured ({found.origin}); {_seeds_note([found.vanilla, *found.asi.values()])}.",
        explanation=_EXPLANATION,
    )


def _reveal_rank(guess: float) -> Reveal:
    vanilla, asi = usual_cost(Vanilla()), usual_cost(ASI(ranks=USUAL_RANK))
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
    "ASI discards the directions with the least energy, so the weight gradient loses little. The "
    "bytes fall at once: the product of four small ranks is tiny. There are three trade-offs. "
    "**Memory against accuracy**: set by the explained variance, or the ranks. **Memory against "
    "computation**: finding the directions costs multiply-accumulates, working with small inputs "
    "saves some. **Formula against measurement**: formulas count the inputs of trained layers; a "
    "device must hold everything that is saved. No run is best in all three. The runs that no "
    "other dominates form the Pareto front, and your budget picks one of them."
)


LESSON = Lesson(
    slug="trade-offs",
    title="Trade-offs",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="Suppose two points of the front differ by less accuracy than two seeds of one point. "
    "Which one would you deploy, and what would you measure first?",
    hint="See the error bars. Then count everything that is saved instead of only the inputs: "
    "which runs still fit into your device?",
)
