"""Which devices the training would fit into."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from asi_core.costs.devices import DEVICES, Device, TrainingMemory, training_memory
from asi_core.datasets import dataset_card
from asi_core.units import GIB, KIB, MIB, THIN_SPACE, format_bytes, three_digits
from dashboard.explore.compared import MethodCost, measurable, present
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL, small_table

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
    """A card a device, the parts of the memory, and the budgets to change."""
    st.subheader("Where would it fit?")
    classes = dataset_card(settings.dataset).class_count
    assert classes is not None, "the sets of the list say how many"
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        budgets = _budgets()
        momentum = st.toggle(
            "Momentum",
            key="with_momentum",
            help="Momentum keeps one more number a trained parameter. Plain SGD keeps none.",
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
        "All that training needs at once: activations, weights, gradients and optimiser state of "
        "the trained layers and the new classifier. The activations alone are the sentence on top."
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
    _parts(memories)


def card_text(device: Device, budget_bytes: int, memories: dict[str, TrainingMemory]) -> str:
    """Markdown: the device, its budget, and a line a method, readable without colours."""
    lines = [_verdict(label, memory, budget_bytes) for label, memory in memories.items()]
    head = f"**{device.name}** has {format_bytes(budget_bytes)}"
    return "  \n".join([head, *lines, f":small[:gray[{device.note}]]"])


def _verdict(label: str, memory: TrainingMemory, budget_bytes: int) -> str:
    total = memory.total_bytes
    if memory.fits(budget_bytes):
        share = three_digits(100 * total / budget_bytes)
        return f":green[:material/check_circle:] {label} fits: {share}{THIN_SPACE}%"
    times = three_digits(total / budget_bytes)
    return f":red[:material/cancel:] {label} needs {times}{THIN_SPACE}×"


def _budgets() -> dict[str, int]:
    """What each device may give, in bytes, as set by the visitor."""
    budgets = {}
    with st.popover("Change the budgets", icon=":material/edit:"):
        st.caption("All of a device's working memory; what else runs there takes its share.")
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


def _parts(memories: dict[str, TrainingMemory]) -> None:
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
        caption="By formula: what the trained layers and the new classifier hold at once, at the "
        "end of a forward pass. Frozen weights are only read and may stay in flash: they are "
        "counted apart, not in the total. Activation functions and normalisations keep their own "
        "inputs on top, unless they are lean (see the measurement below).",
    )
