"""From a plan to a comparison that trains it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.methods import ASI, Vanilla
from asi_core.runs.service import request_runs
from asi_core.training.spec import RunSpec
from dashboard import services
from dashboard.navigation import switch_to
from dashboard.plan.controls import PlanQuestion
from dashboard.plan.planned import Planned


def plan_specs(question: PlanQuestion, what: Planned) -> list[RunSpec]:
    """The runs that show what a plan is worth: the head alone, vanilla, one explained variance for
    all layers where one fits, and the plan."""
    spec = question.spec
    methods: list[Any] = [Vanilla(), spec.method]
    if what.uniform is not None:
        methods.insert(1, ASI(explained_variance=what.uniform[0]))
    head = spec.model_copy(update={"layers": 0, "method": Vanilla()})
    return [head, *(spec.model_copy(update={"method": method}) for method in methods)]


def train_button(question: PlanQuestion, what: Planned) -> None:
    """One click that launches the comparison and leads to it."""
    st.button(
        "Train this plan",
        key="train-plan",
        type="primary",
        icon=":material/model_training:",
        disabled=what.plan is None,
        on_click=_launch,
        args=(plan_specs(question, what),),
        help="Trains with these ranks, beside vanilla, one explained variance for all layers, and "
        "the classifier alone, on the same images; the Train page shows it live.",
    )
    if refusal := st.session_state.pop("plan-refusal", None):
        st.error(refusal)


def lead_to_launched() -> None:
    """Go to the comparison that was just launched, if any.

    Only it is in the link: Streamlit refuses to set parameters that are bound to a control of the
    page that is left, and both pages have a model, layers and so on.
    """
    if (comparison := st.session_state.pop("plan-launched", None)) is not None:
        switch_to("train", {"comparison": comparison})


def _launch(specs: list[RunSpec]) -> None:
    """Queue the runs; a refusal is told, and nothing is queued."""
    try:
        runs = request_runs(services.store(), specs, services.owner())
    except AsiError as error:
        st.session_state["plan-refusal"] = one_sentence(error)
        return
    # The head alone goes on from the frozen features that the others have computed.
    for run in reversed(runs):
        services.engine().submit(run.id)
    st.session_state["comparison"] = st.session_state["plan-launched"] = runs[0].comparison
