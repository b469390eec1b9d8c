"""From a plan to a comparison that trains it."""

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
    """The runs that show what a plan is worth: the head alone, vanilla, one explained variance for
    all layers where one fits, and the plan."""
    spec = question.spec
    methods: list[Any] = [Vanilla(), spec.method]
    if what.uniform is not None:
        methods.insert(1, ASI(explained_variance=what.uniform[0], bits=question.bits))
    head = spec.model_copy(update={"layers": 0, "method": Vanilla()})
    return [head, *(spec.model_copy(update={"method": method}) for method in methods)]


def train_button(question: PlanQuestion, what: Planned) -> None:
    """One click that launches the comparison and leads to it."""
    launch_buttons(
        plan_specs(question, what) if what.plan is not None else [],
        label="Train this plan",
        key="train-plan",
        icon=":material/model_training:",
        on_launched=_follow,
        help="Trains with these ranks, beside vanilla, one explained variance for all layers, and "
        "the classifier alone, on the same images; the Train page shows it live.",
    )


def _follow(runs: list[RunRecord]) -> None:
    """Go to the comparison that was just launched.

    Only it is in the link: Streamlit refuses to set parameters that are bound to a control of the
    page that is left, and both pages have a model, layers and so on.
    """
    switch_to("train", {"comparison": runs[0].comparison})
