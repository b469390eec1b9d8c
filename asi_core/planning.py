"""Ranks under a memory budget: one candidate per layer, with the least total error.

This is the multiple-choice knapsack problem, solved exactly by dynamic programming with bounds.
Partial choices are dropped if another one is better in both bytes and error, or if the bound of
the Lagrangian relaxation shows that they cannot beat a known solution (Kellerer, Pferschy &
Pisinger, Knapsack Problems, 2004, chapter 11).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asi_core.errors import InvalidInput
from asi_core.records import ELEMENT_BYTES, Ranks
from asi_core.units import format_bytes

Objective = Literal["error", "time"]

_BISECTIONS = 60
# Times closer than this share of all exact weight gradients count as equal.
_TIME_RESOLUTION = 0.01
# A plan for the least time takes ranks that explain less only if the budget needs them.
_LEAST_VARIANCE = 0.8
# Relative rounding error per term that is tolerated in a float sum before a bound prunes.
_ROUNDING = 1e-15


@dataclass(frozen=True, slots=True)
class Candidate:
    """One choice of ranks for a layer's input.

    Attributes:
        explained_variance: threshold that gives the ranks; 1 keeps the full input.
        activation_bytes: bytes that the layer keeps with these ranks.
        gradient_error: Frobenius norm of the weight gradient's error (the paper's "perplexity").
        seconds: measured, of compression and weight gradient; None if they were not timed.
        macs: multiply-accumulates of both, by formula; None without a closed form.
    """

    explained_variance: float
    ranks: Ranks
    activation_bytes: int
    gradient_error: float
    seconds: float | None = None
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Bytes and errors of a layer's candidate ranks, measured on calibration batches.

    Attributes:
        singular_values: one descending row per mode, of the first batch.
        candidates: in order of increasing explained variance.
        gradient_norm: Frobenius norm of the exact weight gradient, with which errors are compared;
            None if it was not noted.
    """

    name: str
    input_shape: tuple[int, ...]
    singular_values: tuple[tuple[float, ...], ...]
    candidates: tuple[Candidate, ...]
    gradient_norm: float | None = None


@dataclass(frozen=True, slots=True)
class LayerTime:
    """How long a layer's compression and weight gradient take, in a plan for the least time.

    Attributes:
        chosen: with the planned ranks, in the plan's `time_unit`.
        exact: with its whole input.
        fastest_compressed: with the fastest ranks below the whole input; None if there are none.
        is_exact: whether its input is left whole.
    """

    name: str
    chosen: float
    exact: float
    fastest_compressed: float | None
    is_exact: bool

    @property
    def reason(self) -> str:
        """Why the layer is left exact, or not."""
        if self.is_exact:
            return "exact: compressing it saves no time, and its bytes fit"
        if self.chosen > self.exact:
            return "compressed: exact would be faster, but its bytes are needed"
        return "compressed: faster than exact"


@dataclass(frozen=True, slots=True)
class Plan:
    """The best choice of one candidate per layer under a budget.

    Attributes:
        times: of the layers, of a plan for the least time; empty otherwise.
        time_unit: "seconds" measured, or "macs" by formula where nothing was measured.
    """

    budget_bytes: int
    layers: tuple[tuple[str, Candidate], ...]
    times: tuple[LayerTime, ...] = ()
    time_unit: Literal["seconds", "macs"] | None = None

    @property
    def total_bytes(self) -> int:
        return sum(candidate.activation_bytes for _, candidate in self.layers)

    @property
    def gradient_error(self) -> float:
        """Sum over the layers: the objective that is minimised."""
        return math.fsum(candidate.gradient_error for _, candidate in self.layers)

    @property
    def ranks(self) -> dict[str, Ranks]:
        """Ranks by layer name."""
        return {name: candidate.ranks for name, candidate in self.layers}

    def as_dict(self) -> dict[str, Any]:
        """The plan as a JSON-serialisable dict."""
        rows = []
        for name, candidate in self.layers:
            row = asdict(candidate)
            row["bytes"] = row.pop("activation_bytes")
            rows.append({"name": name, **row})
        found = {
            "budget_bytes": self.budget_bytes,
            "total_bytes": self.total_bytes,
            "gradient_error": self.gradient_error,
            "layers": rows,
        }
        if self.times:
            times = [{**asdict(layer), "reason": layer.reason} for layer in self.times]
            found |= {"time_unit": self.time_unit, "times": times}
        return found


def profiles_as_dict(profiles: Sequence[LayerProfile]) -> dict[str, Any]:
    """The profiles as a JSON-serialisable dict: `{"layers": [...]}`, one entry per profile."""
    return {"layers": [asdict(profile) for profile in profiles]}


def profiles_from_dict(written: dict[str, Any]) -> list[LayerProfile]:
    """The inverse of `profiles_as_dict`, also after a JSON round trip."""
    return [_profile(layer) for layer in written["layers"]]


def _profile(layer: dict[str, Any]) -> LayerProfile:
    return LayerProfile(
        name=layer["name"],
        input_shape=tuple(layer["input_shape"]),
        singular_values=tuple(tuple(values) for values in layer["singular_values"]),
        candidates=tuple(
            Candidate(**{**candidate, "ranks": tuple(candidate["ranks"])})
            for candidate in layer["candidates"]
        ),
        gradient_norm=layer.get("gradient_norm"),
    )


def plan(
    profiles: Sequence[LayerProfile], budget_bytes: int, *, objective: Objective = "error"
) -> Plan:
    """The best candidates that together fit into the budget.

    Args:
        objective: "error" for the least total gradient error; "time" for the least time of
            compressions and weight gradients, and among plans that are equally fast, within 1 % of
            the time of all exact weight gradients, the least error. A layer whose compression
            costs more time than it saves is left exact, unless its bytes are needed. Ranks that
            explain less than 80 % of the variance are taken only if the budget needs them.

    Raises:
        InvalidInput: if even the smallest candidates do not fit; the message says what they need.
            If the time is minimised and the profiles have neither seconds nor a closed form.
    """
    if objective == "time":
        profiles = _explaining(profiles, budget_bytes)
    costs = [[c.activation_bytes for c in profile.candidates] for profile in profiles]
    errors = [[c.gradient_error for c in profile.candidates] for profile in profiles]
    if objective == "error":
        return Plan(budget_bytes, _layers(profiles, choose(costs, errors, budget_bytes)))
    unit, work = _work(profiles)
    chosen = choose(costs, _by_time(profiles, work, errors), budget_bytes)
    times = tuple(map(_layer_time, profiles, work, chosen))
    return Plan(budget_bytes, _layers(profiles, chosen), times, unit)


def _layers(
    profiles: Sequence[LayerProfile], chosen: Sequence[int]
) -> tuple[tuple[str, Candidate], ...]:
    pairs = zip(profiles, chosen, strict=True)
    return tuple((profile.name, profile.candidates[index]) for profile, index in pairs)


def _explaining(profiles: Sequence[LayerProfile], budget: int) -> Sequence[LayerProfile]:
    """Profiles without the ranks that explain too little, if the rest can fit into the budget."""
    rest = [
        replace(p, candidates=tuple(c for c in p.candidates if c.explained_variance >= least))
        for p in profiles
        for least in [min(_LEAST_VARIANCE, max(c.explained_variance for c in p.candidates))]
    ]
    return rest if smallest_bytes(rest) <= budget else profiles


def _work(
    profiles: Sequence[LayerProfile],
) -> tuple[Literal["seconds", "macs"], list[list[float]]]:
    """Seconds of all candidates, or their multiply-accumulates where some were not timed."""
    seconds = [[c.seconds for c in profile.candidates] for profile in profiles]
    macs = [[c.macs for c in profile.candidates] for profile in profiles]
    measured = [[value for value in layer if value is not None] for layer in seconds]
    if list(map(len, measured)) == list(map(len, seconds)):
        return "seconds", measured
    counted = [[float(value) for value in layer if value is not None] for layer in macs]
    if list(map(len, counted)) == list(map(len, macs)):
        return "macs", counted
    raise InvalidInput(
        "a plan for the least time needs seconds or multiply-accumulates of all candidates",
        "profiles with neither",
        "profile again with timing_rounds=5",
    )


def _exact(profile: LayerProfile) -> int:
    """Index of the candidate that keeps the whole input, or else of the largest."""
    sizes = [math.prod(candidate.ranks) for candidate in profile.candidates]
    return sizes.index(max(sizes))


def _by_time(
    profiles: Sequence[LayerProfile], work: list[list[float]], errors: list[list[float]]
) -> list[list[float]]:
    """One objective per candidate: whole steps of time, and the error as a fraction of a step, of
    which the fractions of a plan never add up to one."""
    exact = math.fsum(times[_exact(p)] for p, times in zip(profiles, work, strict=True))
    step = _TIME_RESOLUTION * exact or 1.0
    scale = 2 * math.fsum(map(max, errors)) or 1.0
    return [
        [round(time / step) + error / scale for time, error in zip(*layer, strict=True)]
        for layer in zip(work, errors, strict=True)
    ]


def _layer_time(profile: LayerProfile, work: Sequence[float], chosen: int) -> LayerTime:
    exact = _exact(profile)
    others = [time for index, time in enumerate(work) if index != exact]
    return LayerTime(
        profile.name, work[chosen], work[exact], min(others, default=None), chosen == exact
    )


def smallest_bytes(profiles: Sequence[LayerProfile]) -> int:
    """Total bytes of the smallest candidates: the smallest feasible budget."""
    return sum(min(c.activation_bytes for c in profile.candidates) for profile in profiles)


def full_bytes(profiles: Sequence[LayerProfile]) -> int:
    """Total bytes of the uncompressed inputs, which vanilla training keeps."""
    return sum(ELEMENT_BYTES * math.prod(profile.input_shape) for profile in profiles)


def uniform_plans(profiles: Sequence[LayerProfile]) -> list[tuple[float, Plan]]:
    """Plans with the same explained variance in all layers: the baseline without planning.

    Returns:
        pairs of explained variance and plan, in order of increasing explained variance; each
        plan's budget is the bytes that it needs.
    """
    plans = []
    for chosen in zip(*(profile.candidates for profile in profiles), strict=True):
        layers = tuple((profile.name, c) for profile, c in zip(profiles, chosen, strict=True))
        needed = sum(candidate.activation_bytes for candidate in chosen)
        plans.append((chosen[0].explained_variance, Plan(needed, layers)))
    return plans


def uniform_plan(profiles: Sequence[LayerProfile], budget_bytes: int) -> tuple[float, Plan] | None:
    """The highest of `uniform_plans` that fits into the budget; None if none does."""
    fitting = [found for found in uniform_plans(profiles) if found[1].total_bytes <= budget_bytes]
    return fitting[-1] if fitting else None


def budget_curve(profiles: Sequence[LayerProfile], points: int) -> list[Plan]:
    """The best plans for `points` budgets, log-spaced from the smallest to the full bytes."""
    budgets = np.geomspace(smallest_bytes(profiles), full_bytes(profiles), points)
    # Rounding down could make the first budget infeasible.
    return [plan(profiles, math.ceil(budget)) for budget in np.unique(budgets)]


def choose(
    costs: Sequence[Sequence[int]], errors: Sequence[Sequence[float]], budget: int
) -> list[int]:
    """One candidate index per layer: the least sum of errors at a sum of costs within `budget`.

    Args:
        costs: `costs[layer][candidate]`, non-negative integers.
        errors: `errors[layer][candidate]`, finite.

    Raises:
        InvalidInput: if the sizes differ, a number is not allowed, or nothing fits.
    """
    _check(costs, errors)
    spent = [min(layer) for layer in costs]
    least = sum(spent)
    if least > budget:
        raise InvalidInput(
            f"the budget must be at least {format_bytes(least)} ({least} bytes), "
            "what the smallest candidates need",
            f"{budget} bytes",
            "raise the budget, or train fewer layers or smaller batches",
        )
    # Only costs above the unavoidable minimum count, so that no bound subtracts two large numbers.
    extra = [[int(c - s) for c in layer] for layer, s in zip(costs, spent, strict=True)]
    layers = [_undominated(*both) for both in zip(extra, errors, strict=True)]
    return _search(layers, min(budget - least, sum(map(max, extra)))) if layers else []


@dataclass(frozen=True, slots=True)
class _Options:
    """The undominated candidates of one layer, by increasing cost and decreasing error."""

    index: NDArray[np.int64]
    cost: NDArray[np.int64]
    error: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Front:
    """Partial choices up to a layer, each with its parent and the option taken."""

    cost: NDArray[np.int64]
    error: NDArray[np.float64]
    parent: NDArray[np.int64]
    option: NDArray[np.int64]


def _search(layers: list[_Options], budget: int) -> list[int]:
    price = _best_price(layers, budget)
    known = _greedy_error(layers, budget)
    scale = sum(float(np.abs(layer.error).max()) for layer in layers)
    slack = _ROUNDING * (len(layers) + 1) * (scale + price * budget)
    # Lower bounds over the layers after each one: in bytes, and in error + price * bytes.
    later_cost = _after([int(layer.cost[0]) for layer in layers])
    later_bound = _after([float((layer.error + price * layer.cost).min()) for layer in layers])
    fronts: list[_Front] = []
    cost, error = np.zeros(1, np.int64), np.zeros(1)
    for position, layer in enumerate(layers):
        sums = (cost[:, None] + layer.cost).ravel()
        totals = (error[:, None] + layer.error).ravel()
        bound = totals + later_bound[position] - price * (budget - sums)
        kept = np.flatnonzero((sums + later_cost[position] <= budget) & (bound <= known + slack))
        kept = kept[_pareto(sums[kept], totals[kept])]
        parent, option = np.divmod(kept, len(layer.cost))
        cost, error = sums[kept], totals[kept]
        fronts.append(_Front(cost, error, parent, option))
    at, chosen = int(np.argmin(error)), []
    for front, layer in zip(reversed(fronts), reversed(layers), strict=True):
        chosen.append(int(layer.index[front.option[at]]))
        at = int(front.parent[at])
    return chosen[::-1]


def _pareto(cost: NDArray[np.int64], error: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the undominated pairs, by increasing cost and decreasing error."""
    order = np.lexsort((error, cost))
    best_before = np.minimum.accumulate(error[order])
    falls = np.ones(len(order), bool)
    falls[1:] = error[order][1:] < best_before[:-1]
    return order[falls]


def _undominated(cost: Sequence[int], error: Sequence[float]) -> _Options:
    costs, errors = np.asarray(cost, np.int64), np.asarray(error, np.float64)
    index = _pareto(costs, errors)
    return _Options(index, costs[index], errors[index])


def _best_price(layers: list[_Options], budget: int) -> float:
    """The Lagrange multiplier (error per byte) of the tightest bound, found by bisection."""

    def used(price: float) -> int:
        return sum(int(x.cost[np.argmin(x.error + price * x.cost)]) for x in layers)

    if used(0.0) <= budget:
        return 0.0
    steps = [np.diff(-x.error) / np.diff(x.cost) for x in layers if len(x.cost) > 1]
    low, high = 0.0, 2 * float(max(step.max() for step in steps))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if used(middle) > budget else (low, middle)
    return high


def _greedy_error(layers: list[_Options], budget: int) -> float:
    """The error of a greedy choice: take the step that gains most per byte while one fits."""
    at = [0] * len(layers)
    left = budget - sum(int(layer.cost[0]) for layer in layers)
    while True:
        steps = [
            ((layer.error[i] - layer.error[j]) / (layer.cost[j] - layer.cost[i]), number, j)
            for number, (layer, i) in enumerate(zip(layers, at, strict=True))
            for j in range(i + 1, len(layer.cost))
            if layer.cost[j] - layer.cost[i] <= left
        ]
        if not steps:
            return float(sum(layer.error[i] for layer, i in zip(layers, at, strict=True)))
        _, number, j = max(steps)
        left -= int(layers[number].cost[j] - layers[number].cost[at[number]])
        at[number] = j


def _after(values: list[Any]) -> list[Any]:
    """For each position, the sum of the values after it."""
    sums = [0]
    for value in reversed(values[1:]):
        sums.append(sums[-1] + value)
    return sums[::-1]


def _check(costs: Sequence[Sequence[int]], errors: Sequence[Sequence[float]]) -> None:
    sizes = [[len(layer) for layer in table] for table in (costs, errors)]
    if sizes[0] != sizes[1] or 0 in sizes[0]:
        raise InvalidInput(
            "every layer must have candidates, each with a cost and an error",
            f"{sizes[0]} costs and {sizes[1]} errors",
            "give both for each candidate",
        )
    for layer_costs, layer_errors in zip(costs, errors, strict=True):
        for cost, error in zip(layer_costs, layer_errors, strict=True):
            if cost != int(cost) or cost < 0 or not math.isfinite(error):
                raise InvalidInput(
                    "costs must be whole bytes of at least 0 and errors finite",
                    f"cost {cost}, error {error}",
                    "correct the candidate",
                )
