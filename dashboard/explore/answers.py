"""The page's answer: one sentence and the numbers that matter, each against vanilla."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.costs.accounting import StepCost
from asi_core.methods import ASI, Method
from asi_core.units import (
    DASH,
    THIN_SPACE,
    format_bytes,
    format_count,
    last_layers,
    three_digits,
)
from dashboard.explore.compared import MethodCost, measurable, present, reference
from dashboard.explore.settings import ExploreSettings, ViewSettings
from dashboard.frame import Kpi

_HELP = (
    "By formula: what is kept of the trained layers' inputs until their weight gradients need it, "
    "4 bytes per number, fewer where the method rounds, and the multiplies of one training step of "
    "these layers."
)


def answer_sentence(settings: ExploreSettings, costs: Sequence[MethodCost]) -> str:
    """What ASI would save here; what vanilla keeps, if ASI's ranks are not known."""
    shown = {method.kind: cost for method, cost in present(costs)}
    vanilla, asi = reference(costs), shown.get(ASI.class_kind())
    where = f"{last_layers(settings.layers)} of {settings.card.title}"
    if asi is None:
        return (
            f"Vanilla keeps {format_bytes(vanilla.activation_bytes)} of {where}; "
            "what ASI would keep of them depends on the images."
        )
    kept, work = asi.activation_bytes, asi.macs.total / vanilla.macs.total
    return (
        f"ASI keeps {format_bytes(kept)} where vanilla keeps "
        f"{format_bytes(vanilla.activation_bytes)} of {where}: "
        f"{_against(kept, vanilla.activation_bytes)}, for {_times(work)} the multiplies."
    )


def kpis(costs: Sequence[MethodCost], view: ViewSettings) -> list[Kpi]:
    """Memory and cost of every method that there is, or how to learn them."""
    vanilla = reference(costs)
    counted = [_kpi(method, cost, vanilla, view) for method, cost in present(costs)]
    return [*counted, *map(_measure_it, measurable(costs))]


def _measure_it(method: Method) -> Kpi:
    message = (
        "What this method keeps is not known by formula. Measure here, below, takes one real step."
    )
    return Kpi(f"{method.label} keeps", DASH, "no closed form: measure it", message)


def _kpi(method: Method, cost: StepCost, vanilla: StepCost, view: ViewSettings) -> Kpi:
    work = format_count(view.work_factor * cost.macs.total, view.work_unit)
    note = f"{work} a step"
    if cost is not vanilla:
        less = _against(cost.activation_bytes, vanilla.activation_bytes)
        note = f"{less} · {_times(cost.macs.total / vanilla.macs.total)} cost"
    message = f"{_HELP} {method.label} costs {work} a step."
    return Kpi(f"{method.label} keeps", format_bytes(cost.activation_bytes), note, message)


def _against(value: int, base: int) -> str:
    if value <= base:
        return f"{_times(base / value)} less"
    return f"{_times(value / base)} more"


def _times(ratio: float) -> str:
    return f"{three_digits(ratio)}{THIN_SPACE}×"
