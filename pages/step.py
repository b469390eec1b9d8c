"""Step: the memory of one training step over time."""

from __future__ import annotations

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, one_sentence
from dashboard.frame import question
from dashboard.links import checked
from dashboard.plain import plain
from dashboard.setup import Setup, the_setup
from dashboard.step.asking import ask_formulas
from dashboard.step.controls import StepControls, step_controls
from dashboard.step.measuring import measure_panel
from dashboard.step.steps import FORMULA, MEASURED, Step, compared_steps, known_steps
from dashboard.step.table import numbers_table
from dashboard.step.view import head, picture, shown_steps, tell_missing

_NO_LANGUAGE_MODELS = (
    "The step of a language model is not computed here: Explore estimates what it keeps."
)


@checked
def main() -> None:
    """Draw the page."""
    question("What does one step need, and when?")
    setup = the_setup()
    if setup.card.reads == "tokens":
        st.info(_NO_LANGUAGE_MODELS)
        return
    # Above the controls, which are read first.
    first = st.container()
    controls = step_controls(setup.card)
    steps = _steps(setup, controls)
    if not steps:
        return
    ask_formulas(steps)
    formula, measured = known_steps(steps, FORMULA), known_steps(steps, MEASURED)
    known = shown_steps(steps, formula, measured, prefers_measured=controls.prefers_measured)
    if known:
        with first:
            head(known)
            picture(known, with_base=controls.with_base)
    tell_missing(steps, known)
    if known:
        both = [
            source[s.label] for s in steps for source in (formula, measured) if s.label in source
        ]
        numbers_table(both)
    measure_panel(steps)


def _steps(setup: Setup, controls: StepControls) -> list[Step]:
    """The steps to compare; none, with the reason on the page, if a value is invalid."""
    try:
        steps = compared_steps(setup, controls)
    except (AsiError, ValidationError) as error:
        st.error(plain(one_sentence(error)))
        return []
    if not steps:
        st.info("No method is chosen: choose some in “Methods and view”.")
    return steps


# A spawned worker process imports this file again, under another name.
if __name__ == "__main__":
    main()
