"""Train: methods fine-tune the same network on the same images, live."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, one_sentence
from asi_core.training.spec import RunSpec
from asi_core.units import last_layers
from dashboard import services
from dashboard.damage import damage_notice
from dashboard.frame import question
from dashboard.history import comparison_picker, run_labels, show_launched
from dashboard.launching import launch_buttons
from dashboard.links import checked
from dashboard.plain import plain
from dashboard.reproduce import reproduce_panel
from dashboard.train.form import comparison_form, comparison_specs
from dashboard.train.live import live_comparison
from dashboard.train.run_log import log_panel
from dashboard.uploading import images_panel


@checked
def main() -> None:
    """Draw the page."""
    services.warm_up()
    question("What does compression cost in accuracy?")
    form = comparison_form()
    try:
        specs = comparison_specs(form)
    except (AsiError, ValidationError) as error:
        specs = []
        st.error(plain(one_sentence(error)))
    if specs:
        st.sidebar.caption(_what_starts(specs))
        damage_notice(specs[-1])
    launching, picking = st.columns([2, 3], vertical_alignment="bottom")
    with launching:
        launch_buttons(
            specs,
            label="Train and compare",
            key="launch",
            icon=":material/play_arrow:",
            on_launched=show_launched,
        )
    with picking:
        comparison = comparison_picker()
    if comparison:
        live_comparison(comparison)
        if runs := services.store().comparison(comparison):
            log_panel(runs)
            reproduce_panel([run.spec for run in runs], run_labels(runs), key="train")
    else:
        st.info("Nothing has been trained here yet. The button above starts a comparison.")
    if specs:
        images_panel(specs[-1])


def _what_starts(specs: Sequence[RunSpec]) -> str:
    spec = specs[-1]
    return (
        f"{_trained(spec)} of {spec.model_label} and a new classifier are trained for "
        f"{spec.steps} steps, by {len(specs) - 1} methods side by side, on the same images in the "
        "same order. The linear probe is the baseline to beat."
    )


def _trained(spec: RunSpec) -> str:
    """Such as "The last 4 layers"."""
    words = last_layers(spec.layers)
    return plain(words[0].upper() + words[1:])


# A spawned worker process imports this file again, under another name.
if __name__ == "__main__":
    main()
