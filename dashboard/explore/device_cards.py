"""The devices into which training fits."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from asi_core.costs.devices import DEVICES, Device, TrainingMemory, training_memory
from asi_core.datasets import dataset_card
from asi_core.units import GIB, KIB, MIB, format_bytes, times
from dashboard.explore.compared import MethodCost, measurable, present
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL, short_percent
from dashboard.tables import small_table

_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_CARD_PIXELS = 300
_PARTS = {
    "activations": "activation_bytes",
    "weights": "weight_bytes",
    "gradients": "gradient_bytes",
    "optimiser": "optimiser_bytes",
    "total": "total_bytes",
    "frozen weights": "frozen_bytes",
}


def device_cards(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    """A card per device, the parts of the memory, and the editable budgets."""
    st.subheader("Which devices does it fit?")
    classes = dataset_card(settings.dataset).class_count
    assert classes is not None, "known for all data sets of the box"
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        budgets = _budgets()
        momentum = st.toggle(
            "Momentum",
            key="with_momentum",
            help="Momentum keeps one more number per trained parameter; plain SGD keeps none.",
            **URL,
        )
    memories = {
        method.label: training_memory(
            cost,
            settings.model,
            layers=settings.layers,
            batch_size=settings.batch_size,
            classes=classes,
            momentum=momentum,
        )
        for method, cost in present(costs)
    }
    st.caption(
        "Memory that training needs at once: activations, weights, gradients and optimiser state "
        f"of the trained layers{_classifier(settings)}. The answer above counts only activations."
    )
    unknown = [
        f":gray[:material/help:] {method.label}: no closed form, measure it"
        for method in measurable(costs)
    ]
    with st.container(horizontal=True, gap="small"):
        for device in DEVICES:
            card = st.container(border=True, width=_CARD_PIXELS, height="stretch")
            message = card_text(device, budgets[device.key], memories)
            card.markdown("  \n".join([message, *unknown]))
    _parts(memories, _classifier(settings))


def _classifier(settings: ExploreSettings) -> str:
    return " and the new classifier" if settings.card.reads == "images" else ""


def card_text(device: Device, budget_bytes: int, memories: dict[str, TrainingMemory]) -> str:
    """Markdown: the device, its budget, and a line per method, readable without colours."""
    lines = [_verdict(label, memory, budget_bytes) for label, memory in memories.items()]
    head = f"**{device.name}** has {format_bytes(budget_bytes)}"
    return "  \n".join([head, *lines, f":small[:gray[{device.note}]]"])


def _verdict(label: str, memory: TrainingMemory, budget_bytes: int) -> str:
    total = memory.total_bytes
    if memory.fits(budget_bytes):
        share = short_percent(total / budget_bytes)
        return f":green[:material/check_circle:] {label} fits: {share}"
    return f":red[:material/cancel:] {label} needs {times(total / budget_bytes)}"


def _budgets() -> dict[str, int]:
    """Each device's budget in bytes, as set by the visitor."""
    budgets = {}
    with st.popover("Change budgets", icon=":material/edit:"):
        st.caption("A device's whole working memory; other programs on it need their share.")
        for device in DEVICES:
            size, unit = next(u for u in _UNITS if device.budget_bytes >= u[0])
            given = st.number_input(
                f"{device.name}, {unit}",
                min_value=0.01,
                value=device.budget_bytes / size,
                format="%.4g",
                key=f"budget_{device.key}",
                help=device.note,
                **URL,
            )
            budgets[device.key] = round(given * size)
    return budgets


def _parts(memories: dict[str, TrainingMemory], classifier: str) -> None:
    parts = {
        label: {name: getattr(memory, field) for name, field in _PARTS.items()}
        for label, memory in memories.items()
    }
    small_table(
        pd.DataFrame(
            {"method": label} | {name: format_bytes(value) for name, value in row.items()}
            for label, row in parts.items()
        ),
        pd.DataFrame({"method": label} | row for label, row in parts.items()),
        key="explore-devices",
        caption=f"By formula: memory of the trained layers{classifier} at the end of a forward "
        "pass. Frozen weights are only read and may stay in flash: they are not part of "
        "the total. Activation functions and normalisations save their own inputs on top, unless "
        "they are lean (see the measurement below).",
    )
