"""The page's answer: one sentence and the key numbers, each compared with vanilla."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.costs.accounting import StepCost
from asi_core.methods import ASI, Method
from asi_core.units import (
    DASH,
    fewer_or_more,
    format_bytes,
    format_count,
    last_layers,
    less_or_more,
)
from dashboard.explore.compared import MethodCost, measurable, present, reference
from dashboard.explore.settings import ExploreSettings, ViewSettings
from dashboard.frame import Kpi
from dashboard.plain import plain

_HELP = (
    "By formula: the bytes kept of the trained layers' inputs until the weight gradients need "
    "them, 4 per number or fewer if the method rounds; and the multiply-accumulates of these "
    "layers in one training step."
)


def answer_sentence(settings: ExploreSettings, costs: Sequence[MethodCost]) -> str:
    """What ASI would save; what vanilla keeps, if ASI's ranks are unknown."""
    shown = {method.kind: cost for method, cost in present(costs)}
    vanilla, asi = reference(costs), shown.get(ASI.class_kind())
    where = f"{plain(last_layers(settings.layers))} of {settings.card.title}"
    if asi is None:
        return (
            f"Vanilla keeps {format_bytes(vanilla.activation_bytes)} for {where}; "
            "what ASI would keep depends on the images."
        )
    kept, macs = asi.activation_bytes, asi.macs.total
    return (
        f"ASI keeps {format_bytes(kept)} where vanilla keeps "
        f"{format_bytes(vanilla.activation_bytes)} for {where}: "
        f"{less_or_more(kept, vanilla.activation_bytes)}, with "
        f"{fewer_or_more(macs, vanilla.macs.total, 'MACs')}."
    )


def kpis(costs: Sequence[MethodCost], view: ViewSettings) -> list[Kpi]:
    """Memory and cost of every method, or that they must be measured."""
    vanilla = reference(costs)
    counted = [_kpi(method, cost, vanilla, view) for method, cost in present(costs)]
    note = "no closed form: measure it"
    message = "There is no formula for this method. “Measure here”, below, runs one real step."
    unknown = [Kpi(f"{m.label} keeps", DASH, note, message) for m in measurable(costs)]
    return [*counted, *unknown]


def _kpi(method: Method, cost: StepCost, vanilla: StepCost, view: ViewSettings) -> Kpi:
    work = format_count(view.work_factor * cost.macs.total, view.work_unit)
    note = f"{work} per step"
    if cost is not vanilla:
        less = less_or_more(cost.activation_bytes, vanilla.activation_bytes)
        note = f"{less} · {fewer_or_more(cost.macs.total, vanilla.macs.total, view.work_unit)}"
    about = " ".join(filter(None, (method.described(), method.saves)))
    message = f"{about} {_HELP} {method.label} costs {work} per step."
    return Kpi(f"{method.label} keeps", format_bytes(cost.activation_bytes), note, message)
