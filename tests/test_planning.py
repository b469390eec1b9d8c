from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_core.errors import InvalidInput
from asi_core.planning import Candidate, LayerProfile, choose, plan

Instance = tuple[list[list[int]], list[list[float]], int]


@st.composite
def small_instances(draw: st.DrawFn) -> Instance:
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    costs = [[draw(st.integers(0, 40)) for _ in range(n)] for n in counts]
    errors = [[draw(st.floats(0, 10, allow_subnormal=False)) for _ in range(n)] for n in counts]
    least, most = (sum(f(layer) for layer in costs) for f in (min, max))
    return costs, errors, draw(st.integers(least, most + 3))


def totals(instance: Instance, chosen: tuple[int, ...]) -> tuple[int, float]:
    costs, errors, _ = instance
    return (
        sum(layer[i] for layer, i in zip(costs, chosen, strict=True)),
        sum(layer[i] for layer, i in zip(errors, chosen, strict=True)),
    )


def best_of_all(instance: Instance) -> float:
    choices = itertools.product(*(range(len(layer)) for layer in instance[0]))
    both = (totals(instance, choice) for choice in choices)
    return min(error for cost, error in both if cost <= instance[2])


@given(small_instances())
@settings(max_examples=300)
def test_the_choice_is_the_best_of_all(instance: Instance) -> None:
    cost, error = totals(instance, tuple(choose(*instance)))
    assert cost <= instance[2]
    assert error == pytest.approx(best_of_all(instance), rel=1e-9, abs=1e-9)


@st.composite
def large_cost_instances(draw: st.DrawFn) -> Instance:
    """Large costs with small differences, and errors of any scale."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    bases = [draw(st.sampled_from([0, 10**6, 10**9, 10**12])) for _ in counts]
    spread = draw(st.sampled_from([1, 10, 1000, 10**9]))
    scale = draw(st.sampled_from([1e-14, 1.0, 1e200]))
    shares = st.floats(0, 1, allow_subnormal=False)
    costs = [
        [base + draw(st.integers(0, spread)) for _ in range(n)]
        for base, n in zip(bases, counts, strict=True)
    ]
    errors = [[scale * draw(shares) for _ in range(n)] for n in counts]
    least, most = (sum(f(layer) for layer in costs) for f in (min, max))
    return costs, errors, draw(st.integers(least, most))


@given(large_cost_instances())
@settings(max_examples=300)
def test_large_costs_are_exact(instance: Instance) -> None:
    cost, error = totals(instance, tuple(choose(*instance)))
    assert cost <= instance[2]
    assert error <= best_of_all(instance) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("costs", "errors", "budget"),
    [
        (
            [[21355896, 21355948], [21661452, 21661464]],
            [[0.5205378556013146, 0.5056393863960823], [0.20189063016426034, 0.014682116498740294]],
            43017348,
        ),
        (
            [[1322504, 1322512], [2600908, 2600908]],
            [[58.83053084403155, 47.04554592494722], [93.26418271326017, 1.0775637843218333]],
            3923412,
        ),
        (
            [[10**9 + 5], [10**9 + 3, 10**9 + 4], [10**9 + 1, 10**9 + 1, 10**9]],
            [[0.77], [0.8349693734724961, 0.8206677079131675], [0.00068, 0.00047, 0.284]],
            3 * 10**9 + 8,
        ),
        (
            [[10**9 + 2, 10**9 + 3, 10**9 + 1, 10**9 + 1], [10**9 + 3, 10**9 + 1, 10**9]],
            [[0.6713614523607437, 0.0004708793391529531, 0.967, 0.457], [0.00095, 0.0941, 0.932]],
            2 * 10**9 + 4,
        ),
    ],
)
def test_small_steps_between_large_costs_are_seen(
    costs: list[list[int]], errors: list[list[float]], budget: int
) -> None:
    instance = costs, errors, budget
    cost, error = totals(instance, tuple(choose(*instance)))
    assert cost <= budget
    assert error == pytest.approx(best_of_all(instance), rel=1e-9)


def test_numbers_beyond_64_bits_are_no_limit() -> None:
    large = 10**20
    assert choose([[large, large + 5], [large, large + 5]], [[2.0, 1.0]] * 2, 2 * large + 9) in (
        [0, 1],
        [1, 0],
    )
    assert choose([[1, 2]], [[1.0, 0.0]], large) == [1]


def large_instance(seed: int, share: float) -> Instance:
    """Sixty realistic layers: with the explained variance, bytes increase and errors decrease."""
    random = np.random.default_rng(seed)
    costs, errors = [], []
    for _ in range(60):
        size, scale = random.integers(10_000, 3_000_000), random.lognormal()
        growth = np.sort(random.random(12)) ** 2
        costs.append([int(size * g) + 64 for g in growth])
        errors.append([float(scale * (1 - g) * random.uniform(0.8, 1.2)) for g in growth])
    least, most = (sum(f(layer) for layer in costs) for f in (min, max))
    return costs, errors, int(least + share * (most - least))


@pytest.mark.parametrize("scale", [1.0, 1e-12])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 0.8])
def test_sixty_layers_take_less_than_a_second(share: float, scale: float) -> None:
    for seed in range(3):
        costs, errors, budget = large_instance(seed, share)
        instance = costs, [[scale * error for error in layer] for layer in errors], budget
        # Time of this thread, as wall time on a busy machine depends on other processes.
        started = time.thread_time()
        chosen = choose(*instance)
        assert time.thread_time() - started < 1
        cost, error = totals(instance, tuple(chosen))
        assert cost <= instance[2]
        assert error <= rounded_search(instance) * (1 + 1e-9)


def rounded_search(instance: Instance) -> float:
    """Dynamic programming in units of 1 kB, as the authors do: costs are rounded up."""
    costs, errors, budget = instance
    unit = 1000
    room = budget // unit
    best = np.full(room + 1, np.inf)
    best[0] = 0.0
    for layer_costs, layer_errors in zip(costs, errors, strict=True):
        following = np.full(room + 1, np.inf)
        for cost, error in zip(layer_costs, layer_errors, strict=True):
            steps = -(-cost // unit)
            if steps <= room:
                moved = best[: room + 1 - steps] + error
                following[steps:] = np.minimum(following[steps:], moved)
        best = following
    return float(best.min())


def test_the_rounded_table_is_sometimes_worse() -> None:
    """Otherwise the comparison above would be meaningless."""
    instance = large_instance(0, 0.1)
    assert totals(instance, tuple(choose(*instance)))[1] < rounded_search(instance)


def test_too_small_a_budget_says_what_is_needed() -> None:
    with pytest.raises(InvalidInput, match=r"at least .*\(7 bytes\).*got 6 bytes"):
        choose([[5, 9], [2]], [[1.0, 0.0], [0.0]], 6)


@pytest.mark.parametrize(
    ("costs", "errors"),
    [
        ([[1]], [[1.0, 2.0]]),
        ([[]], [[]]),
        ([[-1]], [[0.0]]),
        ([[1]], [[float("nan")]]),
        ([[1.5]], [[0.0]]),
    ],
)
def test_invalid_instances_are_refused(costs: list[list[int]], errors: list[list[float]]) -> None:
    with pytest.raises(InvalidInput):
        choose(costs, errors, 10)


def test_a_plan_adds_up() -> None:
    def candidates(name: str, *pairs: tuple[int, float]) -> LayerProfile:
        found = tuple(Candidate(0.5, (1, n), n, error) for n, error in pairs)
        return LayerProfile(name, (4, 4), ((1.0,), (1.0,)), found)

    profiles = [candidates("a", (5, 3.0), (1, 4.0)), candidates("b", (5, 0.0), (1, 3.0))]
    made = plan(profiles, 6)
    assert made.ranks == {"a": (1, 1), "b": (1, 5)}
    assert (made.total_bytes, made.gradient_error) == (6, 4.0)
    assert [row["bytes"] for row in made.as_dict()["layers"]] == [1, 5]
    assert choose([], [], 0) == []
