"""All methods on the same layers, by formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from asi_core.costs.accounting import StepCost, step_cost
from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.errors import NoClosedForm
from asi_core.methods import REFERENCE_KIND, Method
from asi_core.records import LayerShape, Ranks
from asi_core.units import format_bytes
from dashboard.explore.calibration import Calibration
from dashboard.explore.settings import ExploreSettings


@dataclass(frozen=True, slots=True)
class MethodCost:
    """A method's cost, or why there is none.

    Attributes:
        missing: the reason in one sentence; None if there is a cost.
        is_measurable: whether the cost has no closed form, but can be measured.
    """

    method: Method
    cost: StepCost | None
    missing: str | None = None
    is_measurable: bool = False


def compared(settings: ExploreSettings, calibration: Calibration | None) -> tuple[MethodCost, ...]:
    """Every registered method, vanilla first; `calibration` covers at least these layers."""
    return _compared(tuple(settings.methods()), settings, calibration)


# The methods are part of the key because others may be registered later.
@lru_cache(maxsize=256)
def _compared(
    methods: tuple[Method, ...], settings: ExploreSettings, calibration: Calibration | None
) -> tuple[MethodCost, ...]:
    shapes = settings.shapes
    ranks = _spectral_ranks(settings, calibration, shapes)
    return tuple(_costed(method, settings, shapes, ranks) for method in methods)


def present(costs: Sequence[MethodCost]) -> list[tuple[Method, StepCost]]:
    """The methods that have a cost, in order."""
    return [(one.method, one.cost) for one in costs if one.cost is not None]


def reference(costs: Sequence[MethodCost]) -> StepCost:
    """The cost of the reference method; it has a cost for all layers."""
    return next(cost for method, cost in present(costs) if method.kind == REFERENCE_KIND)


def measurable(costs: Sequence[MethodCost]) -> list[Method]:
    """The methods whose cost can only be measured, in order."""
    return [one.method for one in costs if one.is_measurable]


def _costed(
    method: Method,
    settings: ExploreSettings,
    shapes: Sequence[LayerShape],
    ranks: dict[str, Ranks | None] | None,
) -> MethodCost:
    whys = (method.why_unsupported_layer(s.geometry, s.weight_shape) for s in shapes)
    reason = next(filter(None, whys), None)
    if reason is not None:
        message = f"{method.label} is not shown for {settings.card.title}: {reason}."
        return MethodCost(method, None, message)
    if not method.has_closed_form:
        return MethodCost(method, None, str(NoClosedForm(method.label)), is_measurable=True)
    if (budget := method.memory_budget) is not None:
        message = (
            f"{method.label} is not shown: what it keeps is planned on the images, at most "
            f"{format_bytes(budget)}. Measure it below. {method.saves}"
        )
        return MethodCost(method, None, message)
    if not method.depends_on_images:
        return MethodCost(method, step_cost(shapes, method, settings.convention))
    if ranks is None:
        message = f"{method.label} is not shown yet: its ranks depend on the images."
        return MethodCost(method, None, message)
    return MethodCost(method, step_cost(shapes, method, settings.convention, ranks))


def _spectral_ranks(
    settings: ExploreSettings, calibration: Calibration | None, shapes: Sequence[LayerShape]
) -> dict[str, Ranks | None] | None:
    """The ranks at the start of training, by layer name."""
    if settings.explained_variance is None or calibration is None:
        return None
    share, known = settings.explained_variance, calibration.profiles
    return {s.name: ranks_of_spectra(known[s.name].singular_values, share) for s in shapes}
