"""What the Plan page asks for. Every control is bound to the URL under its key."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from asi_core.errors import InvalidInput
from asi_core.methods import ASI, Bits
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.units import KIB
from asi_core.zoo.cards import MODELS
from dashboard.bits import bits_control
from dashboard.damage import skip_control
from dashboard.frame import URL
from dashboard.image_size import image_size_box
from dashboard.uploading import choose_images

# What people have in mind: powers of two, and the memory of a well-known microcontroller.
NAMED_BUDGETS = {
    "64 KiB": 64,
    "128 KiB": 128,
    "256 KiB": 256,
    "320 KiB (STM32F746)": 320,
    "512 KiB": 512,
    "1 MiB": 1024,
    "4 MiB": 4096,
}


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """What is to be planned: a run of ASI with a budget.

    Attributes:
        bits: of a kept number.
    """

    spec: RunSpec
    budget_bytes: int
    bits: Bits = 32


def budget_control() -> int:
    """The budget in KiB: one of the well-known ones, or any number."""
    number, named = st.columns([1, 3], vertical_alignment="bottom")
    with number:
        budget: int = st.number_input(
            "Budget, KiB",
            value=256,
            step=16,
            key="budget_kib",
            help="What the inputs of all trained layers together may keep until their gradients "
            "need them. Weights, gradients and what activation functions keep come on top.",
            **URL,
        )
    st.session_state["budget_named"] = _name_of(budget)
    with named:
        st.pills(
            "Well-known budgets",
            list(NAMED_BUDGETS),
            key="budget_named",
            on_change=_take_named,
            help="One click sets the budget. The STM32F746, a microcontroller of many papers on "
            "training in small devices, has 320 KiB of memory in all.",
        )
    return budget


def network_controls() -> dict[str, str | int]:
    """Model, images and size of the training that is planned, unchecked."""
    model = st.selectbox(
        "Model",
        list(MODELS),
        format_func=lambda name: MODELS[name].title,
        key="model",
        help="A network pretrained on ImageNet. Only its last layers are trained.",
        **URL,
    )
    dataset = choose_images("dataset", "The ranks are found on two batches of these.")
    skip = skip_control(dataset)
    numbers = _numbers(model)
    bits = bits_control("Bits of a kept number")
    asked = {"model": model, "dataset": dataset, "skip_damaged": skip}
    return {**asked, **numbers, "bits": bits}


def plan_question(chosen: dict[str, str | int], budget_kib: int) -> PlanQuestion:
    """The checked question.

    Raises:
        InvalidInput, ValidationError: in one sentence, if a value is not allowed.
    """
    if chosen["layers"] == 0:
        raise InvalidInput("a plan needs at least 1 trained layer", 0, "choose 1 or more")
    budget, rest = budget_kib * KIB, {k: v for k, v in chosen.items() if k != "bits"}
    method = ASI.model_validate({"budget_bytes": budget, "bits": chosen.get("bits", 32)})
    return PlanQuestion(RunSpec.model_validate({**rest, "method": method}), budget, method.bits)


def _numbers(model: str) -> dict[str, int]:
    return {
        "layers": st.number_input(
            f"Trained layers (of {MODELS[model].layer_count})",
            value=RUN_DEFAULTS["layers"],
            step=1,
            key="layers",
            help="How many of the last convolutions (in transformers: linear layers of the MLPs) "
            "share the budget.",
            **URL,
        ),
        "batch_size": st.number_input(
            "Batch size",
            value=RUN_DEFAULTS["batch_size"],
            step=16,
            key="batch_size",
            help="Images a step. A smaller batch keeps less, and needs smaller ranks in its mode.",
            **URL,
        ),
        "image_size": image_size_box(MODELS[model]),
        "seed": st.number_input(
            "Seed",
            value=0,
            step=1,
            key="seed",
            help="Decides which images the two batches hold.",
            **URL,
        ),
    }


def _name_of(budget_kib: int) -> str | None:
    return next((name for name, size in NAMED_BUDGETS.items() if size == budget_kib), None)


def _take_named() -> None:
    if (name := st.session_state["budget_named"]) is not None:
        st.session_state["budget_kib"] = NAMED_BUDGETS[name]
