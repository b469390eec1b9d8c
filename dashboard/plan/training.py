"""A comparison that trains a plan."""

from __future__ import annotations

from typing import Any

from asi_core.methods import ASI, Vanilla
from asi_core.runs.records import RunRecord
from asi_core.training.spec import RunSpec
from dashboard.launching import launch_buttons
from dashboard.navigation import switch_to
from dashboard.plan.controls import PlanQuestion
from dashboard.plan.planned import Planned


def plan_specs(question: PlanQuestion, what: Planned) -> list[RunSpec]:
    """The runs that evaluate a plan: the linear probe, vanilla, a uniform explained variance if one
    fits, and the plan."""
    spec = question.spec
    methods: list[Any] = [Vanilla(), spec.method]
    if what.uniform is not None:
        methods.insert(1, ASI(explained_variance=what.uniform[0], bits=question.bits))
    head = spec.model_copy(update={"layers": 0, "method": Vanilla()})
    return [head, *(spec.model_copy(update={"method": method}) for method in methods)]


def train_button(question: PlanQuestion, what: Planned) -> None:
    """A button that launches the comparison and opens it on the Train page."""
    launch_buttons(
        plan_specs(question, what) if what.plan is not None else [],
        label="Train this plan",
        key="train-plan",
        icon=":material/model_training:",
        on_launched=follow,
        help="Trains with these ranks, next to vanilla, a uniform explained variance and the "
        "linear probe, on the same images; the Train page shows it live.",
    )


def follow(runs: list[RunRecord]) -> None:
    """Show a comparison that has been launched on the Train page."""
    # No other parameters: Streamlit refuses to set those bound to boxes of both pages.
    switch_to("train", {"comparison": runs[0].comparison})
