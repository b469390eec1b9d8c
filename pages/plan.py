"""Plan: the best ranks within a budget."""

from __future__ import annotations

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, one_sentence
from asi_core.planning import profiles_from_dict
from dashboard.controls import run_field, setting_box
from dashboard.frame import question
from dashboard.jobs import job_panel
from dashboard.links import checked
from dashboard.network import network_picture
from dashboard.plain import plain
from dashboard.plan.controls import budget_control, plan_question
from dashboard.plan.planned import planned
from dashboard.plan.view import plan_view, unknown_view
from dashboard.plan.whole import whole_panel
from dashboard.setup import the_setup


@checked
def main() -> None:
    """Draw the page."""
    question("Which ranks fit my device?")
    setup = the_setup()
    with st.sidebar:
        seed = setting_box(run_field("seed"))
        pretrained = setting_box(run_field("pretrained"))
    budget_kib = budget_control()
    try:
        goal = plan_question(setup, budget_kib, seed, pretrained)
    except (AsiError, ValidationError) as error:
        st.error(plain(one_sentence(error)))
        return
    place, below = st.container(), st.container()
    profiles = job_panel("calibrate", goal.spec, button="Calibrate these layers", key="calibrate")
    with place:
        if profiles is None:
            unknown_view(goal)
        else:
            plan_view(goal, planned(profiles_from_dict(profiles), goal.budget_bytes, goal.bits))
    with below:
        whole_panel(goal)
        network_picture(setup, key="plan-network")


# A spawned worker process imports this file again, under another name.
if __name__ == "__main__":
    main()
