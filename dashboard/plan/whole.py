"""What fits into the budget as a whole: a search over layers, micro-batches, methods and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.methods import Vanilla
from asi_core.training.reproduce import in_words
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes, format_seconds
from dashboard.frame import percent
from dashboard.jobs import job_panel
from dashboard.launching import launch_buttons
from dashboard.plain import plain
from dashboard.plan.controls import PlanQuestion
from dashboard.plan.training import follow
from dashboard.tables import small_table

_JOB = "fit"


def whole_panel(question: PlanQuestion) -> None:
    """A search for the setting that loses least of the gradient, if the budget is for everything
    that training needs at once."""
    budget = format_bytes(question.budget_bytes)
    st.subheader("And if the budget is for everything?")
    st.caption(
        "Training also needs weights, gradients, optimiser state and what lives within its passes, "
        "the frozen forward pass included. The search chooses among the last layers, "
        "micro-batches, methods and ranks; frozen weights lie in flash."
    )
    found = job_panel(
        _JOB, question.spec, button=f"Search for what fits into {budget}", key="plan-fit"
    )
    if found is None:
        return
    st.markdown(plain(sentence(found)))
    specs = fitting_specs(question.spec, found)
    launch_buttons(
        specs,
        label="Train what fits",
        key="train-fit",
        icon=":material/model_training:",
        on_launched=follow,
        help="Trains this setting, next to vanilla at the same layers and the linear probe.",
    )
    _parts(found)


def sentence(found: Mapping[str, Any]) -> str:
    """The answer of a search, from `Fitting.as_dict`."""
    total, budget = format_bytes(found["total_bytes"]), format_bytes(found["budget_bytes"])
    setting = found["setting"]
    if not found["fits"]:
        return (
            f"Nothing fits into {budget}: the least that was found, {_words(setting)}, needs "
            f"{total}. Raise the budget, or take smaller images or batches."
        )
    error, seconds = found["gradient_error"], found["step_seconds"]
    text = (
        f"{_words(setting)}: it needs {total} of {budget} at once, "
        f"by formula, and loses {percent(error)} of the gradient of all layers that may be trained."
    )
    if seconds is not None:
        text += f" One step takes {format_seconds(seconds)}, measured on this machine."
    if advice := found.get("advice"):
        text += f" {advice}"
    if (larger := found["next_device"]) is not None:
        text += (
            f" {larger['device']}, with {format_bytes(larger['budget_bytes'])}, would lose "
            f"{percent(larger['gradient_error'])} with {_words(larger['setting'])}."
        )
    return text


def fitting_specs(spec: RunSpec, found: Mapping[str, Any]) -> list[RunSpec]:
    """The runs that evaluate a setting that fits: the linear probe, vanilla, and the setting."""
    if not found["fits"]:
        return []
    chosen = {name: value for name, value in found["setting"].items() if name != "ranks"}
    own = RunSpec.model_validate({**dict(spec), **chosen})
    vanilla = own.model_copy(update={"method": Vanilla()})
    runs = [vanilla.model_copy(update={"layers": 0}), vanilla, own]
    return runs if own != vanilla else runs[:2]


def _words(setting: Mapping[str, Any]) -> str:
    known = {name: value for name, value in setting.items() if name != "ranks"}
    return in_words(RunSpec.of_record(known))


def _parts(found: Mapping[str, Any]) -> None:
    parts = found["breakdown"]
    small_table(
        pd.DataFrame({"use": list(parts), "bytes": [format_bytes(n) for n in parts.values()]}),
        pd.DataFrame({"use": list(parts), "bytes": list(parts.values())}),
        key="plan-fit-parts",
        caption="By formula: what is there at the worst moment of training, by use.",
    )
