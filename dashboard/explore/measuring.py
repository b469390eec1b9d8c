"""A measured step on this machine, next to the formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.costs.compared import COMPARED_TITLES
from asi_core.figures.explore import MeasuredBars, plot_measured
from asi_core.methods import Method
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, by_formula, format_bytes
from asi_core.zoo.shapes import why_unsupported
from asi_core.zoo.weights import local_weights
from dashboard.controls import run_field, setting_box
from dashboard.explore.settings import ExploreSettings
from dashboard.explore.training import OWN_LOOP
from dashboard.frame import columns_in_rows, drawer, figure
from dashboard.jobs import job_panel
from dashboard.tables import table

_TRAINED = "trained layer inputs"


def measure_panel(settings: ExploreSettings) -> None:
    """An expander with buttons to measure each method, and the results."""
    if settings.card.reads == "tokens":
        st.caption(OWN_LOOP)
        return
    with drawer("Measure here", icon=":material/speed:", key="measure") as panel:
        if panel.open:
            _measured(settings)


def _measured(settings: ExploreSettings) -> None:
    st.caption(
        "One real training step of the trained part, on this machine. Two independent meters "
        "count every storage that is saved for backward, and must agree."
    )
    lean = setting_box(run_field("lean"))
    network = settings.model, settings.layers
    methods = [m for m in settings.methods() if why_unsupported(m, *network) is None]
    found = []
    for column, method in zip(columns_in_rows(len(methods)), methods, strict=True):
        with column:
            result = job_panel(
                "measure",
                measured_spec(settings, method, lean),
                button=f"Measure {method.label}",
                key=f"explore-measure-{method.kind}",
            )
        if result is not None:
            found.append((method, result))
    if found:
        figure(
            plot_measured(
                [
                    MeasuredBars(m.label, m.kind, r["formula_bytes"], _by_category(r))
                    for m, r in found
                ]
            ),
            key="explore-measured",
            caption="Measured on this machine; the diamonds are the formula.",
        )
        st.markdown(explained([result for _, result in found], lean))
        _four_ways(found)


def _four_ways(found: Sequence[tuple[Method, dict[str, Any]]]) -> None:
    """Bytes of the same step by formula and measured, with and without lean layers."""
    rows = [
        {"method": method.label}
        | {title: _in_mib(compared[name]) for name, title in COMPARED_TITLES.items()}
        for method, result in found
        if (compared := result.get("compared_bytes"))
    ]
    if rows:
        st.markdown("**Memory of the same step, counted in four ways** (MiB)")
        number = st.column_config.NumberColumn(format="%.3f")
        titles = dict.fromkeys(COMPARED_TITLES.values(), number)
        table(
            pd.DataFrame(rows),
            column_config=titles,
            key="explore-four-ways",
            placeholder=by_formula(None, str),
        )


def _in_mib(size: int | None) -> float | None:
    return None if size is None else size / MIB


def measured_spec(settings: ExploreSettings, method: Method, lean: bool) -> RunSpec:
    """The measured step. It starts from random weights if the pretrained ones are not here and the
    method's bytes do not depend on them."""
    at_hand = method.depends_on_images or local_weights(settings.card) is not None
    return settings.run_spec(method, lean=lean, pretrained=at_hand)


def explained(results: Sequence[dict[str, Any]], lean: bool) -> str:
    """Whether formula and measurement agree, and what else is saved."""
    agree = _agreement(results)
    rest = [r["saved_bytes"]["total"] - _inputs(r) for r in results]
    least, most = format_bytes(min(rest)), format_bytes(max(rest))
    amount = least if least == most else f"{least} to {most}"
    also = f"In addition, {amount} are saved that no method changes:"
    if lean:
        return (
            f"{agree} {also} what lean layers need for their own gradients, and the input of the "
            "classifier."
        )
    return (
        f"{agree} {also} activation functions and normalisations save their own inputs. The lean "
        "setting above avoids most of that."
    )


def _agreement(results: Sequence[dict[str, Any]]) -> str:
    """How the trained layers' inputs compare with the formula, if there is one."""
    counted = [r for r in results if r["formula_bytes"] is not None]
    if not counted:
        return "There is no closed form to compare the trained layers' inputs with."
    differ = [_measured_inputs(r) - r["formula_bytes"] for r in counted]
    if any(differ):
        return f"The trained layers' inputs differ from the formula by {differ} bytes."
    return "The trained layers' inputs match the formula to the byte."


def _inputs(result: dict[str, Any]) -> int:
    """Bytes of the trained layers' inputs: by formula, or else measured."""
    counted: int | None = result["formula_bytes"]
    return _measured_inputs(result) if counted is None else counted


def _measured_inputs(result: dict[str, Any]) -> int:
    return _by_category(result).get(_TRAINED, 0)


def _by_category(result: dict[str, Any]) -> dict[str, int]:
    return dict(result["saved_bytes"]["by_category"])
