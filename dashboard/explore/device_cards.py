"""The devices into which training fits: what it needs at once, by `costs.needs.Need`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.costs.devices import DEVICES, Device, training_memory
from asi_core.costs.needs import Need
from asi_core.datasets import dataset_card
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import ASI, METHODS, REFERENCE_KIND, Method
from asi_core.runs.store.job_store import JobRecord
from asi_core.training.spec import RunSpec
from asi_core.units import GIB, KIB, MIB, format_bytes, times
from asi_core.zoo.shapes import why_unsupported
from dashboard import services
from dashboard.controls import run_field, setting_box
from dashboard.explore.compared import MethodCost, present
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL, short_percent
from dashboard.jobs import start_job, watch_jobs
from dashboard.plain import plain
from dashboard.tables import small_table

_JOB = "need"
_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_CARD_PIXELS = 285
_HOW = ("micro_batch", "optimizer", "momentum", "apply_early")
_USUAL = (ASI.class_kind(), REFERENCE_KIND)
# Bytes that a method needs on a device.
Needed = Callable[[Device], int]


def device_cards(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    """A card per device, what training needs by use, and the editable budgets."""
    st.subheader("Which devices does it fit?")
    if settings.card.reads == "tokens":
        _cards(_budgets(), _least(settings, costs), "needs at least")
        st.caption(
            "By formula, at least: kept inputs, weights, gradients and optimiser state of the "
            "trained layers. Language models are not run on shapes, so the peak is not known."
        )
        return
    specs = _asked(settings)
    needs = {label: Need.from_dict(job.result) for label, job in _answers(specs) if job.result}
    budgets = _budgets()
    missing = [label for label in specs if label not in needs]
    _compute(specs, missing)
    _cards(budgets, {label: _total(need) for label, need in needs.items()}, "needs", missing)
    st.caption(
        "By formula: the larger of the frozen forward pass, image by image, and the training step, "
        "and what lies there all the time. On microcontrollers frozen weights are read from flash; "
        "elsewhere they count. The answer above counts only what is kept of the layers' inputs."
    )
    if needs:
        _parts(needs)


def _asked(settings: ExploreSettings) -> dict[str, RunSpec]:
    """What is asked for each chosen method; an invalid setting is reported."""
    network = settings.model, settings.layers
    kinds = [kind for kind in METHODS if why_unsupported(METHODS[kind], *network) is None]
    chosen = st.multiselect(
        "Methods on devices",
        kinds,
        default=[kind for kind in _USUAL if kind in kinds],
        format_func=lambda kind: METHODS[kind].label,
        key="device_methods",
        help="Each is computed by running its step on shapes alone.",
        **URL,
    )
    how: dict[str, Any] = {}
    columns = st.columns([3, 3, 3, 4], vertical_alignment="bottom")
    for column, name in zip(columns, _HOW, strict=True):
        with column:
            how[name] = setting_box(run_field(name), key=f"device_{name}")
    try:
        return {METHODS[kind].label: _spec(settings, settings.method(kind), how) for kind in chosen}
    except (AsiError, ValueError) as error:
        st.error(plain(one_sentence(error)))
        return {}


def _spec(settings: ExploreSettings, method: Method, how: Mapping[str, Any]) -> RunSpec:
    return settings.run_spec(method, pretrained=method.depends_on_images, **how)


def _answers(specs: Mapping[str, RunSpec]) -> list[tuple[str, JobRecord]]:
    known = services.jobs().answers(_JOB, list(specs.values())) if specs else {}
    return [(label, known[spec]) for label, spec in specs.items() if spec in known]


def _compute(specs: Mapping[str, RunSpec], missing: Sequence[str]) -> None:
    """Offer to compute what is missing, and show its progress or why it failed."""
    if not missing:
        return
    newest = {label: services.jobs().latest(_JOB, specs[label]) for label in missing}
    active = [job for job in newest.values() if job is not None and job.is_active]
    if not active:
        for label, job in newest.items():
            if job is not None:
                st.error(f"{label}: {plain(job.error or job.status)}")
        names = ", ".join(missing)
        if st.button(
            f"Compute what training needs: {names}",
            key="device-compute",
            icon=":material/calculate:",
            help="A step is run on shapes alone, within seconds; the result is kept.",
        ):
            try:
                active = [
                    start_job(_JOB, specs[label], again=newest[label] is not None)
                    for label in missing
                ]
            except AsiError as error:
                st.error(plain(one_sentence(error)))
    if active:
        watch_jobs(active)


def _total(need: Need) -> Needed:
    return lambda device: need.total(frozen_in_flash=device.frozen_in_flash)


def _least(settings: ExploreSettings, costs: Sequence[MethodCost]) -> dict[str, Needed]:
    """A closed form of what a language model needs at least."""
    classes = dataset_card(settings.dataset).class_count
    assert classes is not None, "known for all data sets of the box"
    help_of = run_field("momentum").setting.help
    momentum = st.toggle("Momentum", key="with_momentum", help=help_of, **URL)
    found = {}
    for method, cost in present(costs):
        memory = training_memory(
            cost,
            settings.model,
            layers=settings.layers,
            batch_size=settings.batch_size,
            classes=classes,
            momentum=momentum,
        )
        found[method.label] = _least_of(memory.least)
    return found


def _least_of(least: Callable[..., int]) -> Needed:
    return lambda device: least(frozen_in_flash=device.frozen_in_flash)


def _cards(
    budgets: Mapping[str, int],
    needed: Mapping[str, Needed],
    verb: str,
    missing: Sequence[str] = (),
) -> None:
    unknown = [f":gray[:material/help:] {label}: not computed yet" for label in missing]
    with st.container(horizontal=True, gap="small"):
        for device in DEVICES:
            card = st.container(border=True, width=_CARD_PIXELS, height="stretch")
            text = card_text(device, budgets[device.key], needed, verb)
            card.markdown("  \n".join([text, *unknown]))


def card_text(
    device: Device, budget_bytes: int, needed: Mapping[str, Needed], verb: str = "needs"
) -> str:
    """Markdown: the device, its budget, and a line per method, readable without colours."""
    lines = [
        _verdict(label, bytes_on(device), budget_bytes, verb) for label, bytes_on in needed.items()
    ]
    head = f"**{device.name}** has {format_bytes(budget_bytes)}"
    flash = "frozen weights in flash" if device.frozen_in_flash else "frozen weights in memory"
    return "  \n".join([head, *lines, f":small[:gray[{device.note} {flash.capitalize()}.]]"])


def _verdict(label: str, total: int, budget_bytes: int, verb: str) -> str:
    if total <= budget_bytes:
        share = short_percent(total / budget_bytes)
        return f":green[:material/check_circle:] {label} fits: uses {share}"
    needs = f"{verb} {format_bytes(total)}, {times(total / budget_bytes)} the budget"
    return f":red[:material/cancel:] {label} {needs}"


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


def _parts(needs: Mapping[str, Need]) -> None:
    """What is there at the worst moment, by use."""
    uses = list(dict.fromkeys(use for need in needs.values() for use in need.breakdown))
    rows = {
        label: {
            **{use: need.breakdown.get(use, 0) for use in uses},
            "together": need.total(frozen_in_flash=True),
            "frozen weights": need.frozen_weights,
        }
        for label, need in needs.items()
    }
    small_table(
        pd.DataFrame(
            {"method": label} | {use: format_bytes(value) for use, value in row.items()}
            for label, row in rows.items()
        ),
        pd.DataFrame({"method": label} | row for label, row in rows.items()),
        key="explore-devices",
        caption="By formula: memory at the worst moment of training, by use. What operators need "
        "within themselves follows rules of thumb. Frozen weights are not part of the sum.",
    )
