"""The content of the Plan page, computed from the profiles of a calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import pandas as pd

from asi_core.errors import InvalidInput
from asi_core.figures.plan import ErrorPoint, KeptRow
from asi_core.methods import Bits
from asi_core.methods.costs import tucker_bytes
from asi_core.planning import (
    LayerProfile,
    Plan,
    budget_curve,
    full_bytes,
    plan,
    smallest_bytes,
    uniform_plan,
    uniform_plans,
)
from asi_core.records import ELEMENT_BYTES
from asi_core.units import format_bytes, less_or_more, than_vanilla, three_digits
from dashboard.frame import Kpi

_CURVE_POINTS = 40


@dataclass(frozen=True, slots=True)
class Planned:
    """The profiles, and the plan within a budget.

    Attributes:
        plan: None if even the smallest ranks do not fit.
        uniform: the highest explained variance, the same in all layers, that fits, and its plan.
    """

    profiles: tuple[LayerProfile, ...]
    budget_bytes: int
    plan: Plan | None
    uniform: tuple[float, Plan] | None


def planned(profiles: list[LayerProfile], budget_bytes: int, bits: Bits = 32) -> Planned:
    """Plan within the budget, and find the best uniform explained variance for comparison; `bits`
    are per stored number, while profiles are calibrated in single precision."""
    profiles = [_kept_in(profile, bits) for profile in profiles]
    fits = smallest_bytes(profiles) <= budget_bytes
    made = plan(profiles, budget_bytes) if fits else None
    return Planned(tuple(profiles), budget_bytes, made, uniform_plan(profiles, budget_bytes))


def _kept_in(profile: LayerProfile, bits: Bits) -> LayerProfile:
    if bits == 32:
        return profile
    # Rounding takes multiplies that are not counted here; a plan for the least error needs none.
    candidates = (
        replace(
            c,
            activation_bytes=tucker_bytes(profile.input_shape, c.ranks, "exact", bits),
            macs=None,
        )
        for c in profile.candidates
    )
    return replace(profile, candidates=tuple(candidates))


def answer_sentence(what: Planned) -> str:
    """The page's answer."""
    budget, full = format_bytes(what.budget_bytes), full_bytes(what.profiles)
    if what.plan is None:
        return (
            f"{budget} is not enough: even the smallest ranks of these {len(what.profiles)} layers "
            f"keep {format_bytes(smallest_bytes(what.profiles))}."
        )
    kept = what.plan.total_bytes
    if kept == full:
        return f"{budget} is enough for everything: the layers' inputs are {format_bytes(full)}."
    return (
        f"Within {budget} the best ranks keep {format_bytes(kept)} of the inputs' "
        f"{format_bytes(full)}, {than_vanilla(kept, full)}, at a gradient error of "
        f"{three_digits(what.plan.gradient_error)}."
    )


def way_out(what: Planned) -> str:
    """What to do about a budget that is too small."""
    try:
        plan(what.profiles, what.budget_bytes)
    except InvalidInput as error:
        return str(error)
    raise AssertionError("called only if nothing fits")


def kpis(what: Planned) -> list[Kpi]:
    """The key numbers, each with a comparison."""
    assert what.plan is not None
    made, full = what.plan, full_bytes(what.profiles)
    worst = plan(what.profiles, smallest_bytes(what.profiles)).gradient_error
    share = f"{three_digits(100 * made.gradient_error / worst)} %" if worst else "0 %"
    return [
        Kpi(
            "Memory against vanilla",
            less_or_more(made.total_bytes, full),
            f"{format_bytes(made.total_bytes)} of {format_bytes(full)}",
            "By formula: the trained layers' inputs as they are kept; vanilla keeps 4 bytes per "
            "number.",
        ),
        Kpi(
            "Gradient error",
            three_digits(made.gradient_error),
            f"{share} of the smallest plan's",
            "Measured: Frobenius norm of the weight gradient's error, root mean square over two "
            "batches, summed over the layers, in single precision. The paper calls it perplexity. "
            "0 is exact.",
        ),
        Kpi(
            "Budget used",
            f"{three_digits(100 * made.total_bytes / what.budget_bytes)} %",
            f"of {format_bytes(what.budget_bytes)}",
            "Ranks come from 14 explained variances per layer, so part of the budget may stay "
            "unused.",
        ),
        _gain(what, made),
    ]


def _gain(what: Planned, made: Plan) -> Kpi:
    label = "Error saved by planning"
    message = (
        "Compared with the highest explained variance that fits this budget in all layers, the "
        "best choice without planning."
    )
    if what.uniform is None:
        return Kpi(label, "–", "nothing else fits", message)
    share, other = what.uniform
    if made.gradient_error == other.gradient_error:
        return Kpi(label, "0 %", f"same as {share:g} in all layers", message)
    less = 100 * (1 - made.gradient_error / other.gradient_error)
    return Kpi(label, f"{three_digits(less)} %", f"against {share:g} in all layers", message)


def kept_rows(what: Planned) -> list[KeptRow]:
    """The bytes that each layer keeps, in forward order."""
    assert what.plan is not None
    others = [None] * len(what.profiles)
    uniform = [c.activation_bytes for _, c in what.uniform[1].layers] if what.uniform else others
    return [
        KeptRow(profile.name, _vanilla(profile), candidate.activation_bytes, other)
        for profile, (_, candidate), other in zip(
            what.profiles, what.plan.layers, uniform, strict=True
        )
    ]


def rank_table(what: Planned, mode_names: tuple[str, ...]) -> pd.DataFrame:
    """One row per layer: input, rank of each mode, explained variance, bytes, gradient error."""
    assert what.plan is not None
    rows = []
    for profile, (name, chosen) in zip(what.profiles, what.plan.layers, strict=True):
        rows.append(
            {
                "layer": name,
                "input": " × ".join(map(str, profile.input_shape)),
                **dict(zip(mode_names, chosen.ranks, strict=True)),
                "explained_variance": chosen.explained_variance,
                "kept_bytes": chosen.activation_bytes,
                "vanilla_bytes": _vanilla(profile),
                "gradient_error": chosen.gradient_error,
            }
        )
    return pd.DataFrame(rows)


@lru_cache(maxsize=16)
def curve(profiles: tuple[LayerProfile, ...]) -> tuple[list[ErrorPoint], list[ErrorPoint]]:
    """The best plans over all budgets, and uniform explained variances."""
    best = [
        ErrorPoint(
            made.total_bytes, made.gradient_error, f"up to {format_bytes(made.budget_bytes)}"
        )
        for made in budget_curve(profiles, _CURVE_POINTS)
    ]
    alike = [
        _point(made, f"{share:g} explained in all layers")
        for share, made in uniform_plans(profiles)
    ]
    return best, alike


def chosen_point(what: Planned) -> ErrorPoint | None:
    """The plan within the budget as a point of the curve."""
    return None if what.plan is None else _point(what.plan, "the plan within this budget")


def _point(made: Plan, label: str) -> ErrorPoint:
    return ErrorPoint(made.total_bytes, made.gradient_error, label)


def _vanilla(profile: LayerProfile) -> int:
    return ELEMENT_BYTES * prod(profile.input_shape)
