"""The controls of the Plan page; each is bound to the URL under its key."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from asi_core.methods import ASI, Bits
from asi_core.training.spec import RunSpec
from asi_core.units import KIB
from dashboard.frame import URL
from dashboard.links import put
from dashboard.setup import Setup

# Powers of two, and the memory of a well-known microcontroller.
NAMED_BUDGETS = {
    "64 KiB": 64,
    "128 KiB": 128,
    "256 KiB": 256,
    "320 KiB (STM32F746)": 320,
    "512 KiB": 512,
    "1 MiB": 1024,
    "4 MiB": 4096,
    "8 MiB": 8192,
}


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """A run of ASI to plan, with its budget and the bits per kept number."""

    spec: RunSpec
    budget_bytes: int
    bits: Bits = 32


def budget_control() -> int:
    """The budget in KiB: a preset, or any number."""
    number, named = st.columns([1, 3], vertical_alignment="bottom")
    with number:
        budget: int = st.number_input(
            "Budget, KiB",
            value=256,
            step=16,
            key="budget_kib",
            help="Memory for the kept inputs of all trained layers together. Weights, gradients "
            "and what activation functions save come on top.",
            **URL,
        )
    names = {size: name for name, size in NAMED_BUDGETS.items()}
    st.session_state["budget_named"] = names.get(budget)
    with named:
        st.pills(
            "Presets",
            list(NAMED_BUDGETS),
            key="budget_named",
            on_change=_take_named,
            help="One click sets the budget. The STM32F746, a microcontroller used in many papers "
            "on on-device training, has 320 KiB of memory in all.",
        )
    return budget


def plan_question(setup: Setup, budget_kib: int, seed: int, pretrained: bool) -> PlanQuestion:
    """The validated question; raises InvalidInput or ValidationError for an invalid value."""
    budget = budget_kib * KIB
    bits = dict(setup.settings).get("bits", 32)
    method = ASI.model_validate({"budget_bytes": budget, "bits": bits})
    spec = setup.run_spec(method, seed=seed, pretrained=pretrained)
    return PlanQuestion(spec, budget, method.bits)


def _take_named() -> None:
    if (name := st.session_state["budget_named"]) is not None:
        put("budget_kib", NAMED_BUDGETS[name])
