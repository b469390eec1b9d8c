"""Latency of formulas and plans: `python benchmarks/formulas.py` prints JSON, milliseconds.

For every model of the zoo, all methods on all of its layers (batch 64, 224 pixels or the model's
native size), and a plan of 52 layers with 14 candidates each; medians after a first call.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asi_core.costs.estimate import estimate
from asi_core.methods import METHOD_ADAPTER, METHODS, USUAL_RANKS
from asi_core.planning import Candidate, LayerProfile, plan
from asi_core.zoo.cards import MODELS

_ROUNDS = 9
_LAYERS, _CANDIDATES = 52, 14


def milliseconds(what: Callable[[], object]) -> float:
    """The median after a first call."""
    what()
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        what()
        taken.append(1e3 * (time.perf_counter() - started))
    return median(taken)


def all_estimates(name: str) -> None:
    """All methods that support the model's layers, on all of them."""
    card = MODELS[name]
    size = card.native_size if card.fixed_size else 224
    for kind, method in METHODS.items():
        if method.why_unsupported(card.usual_geometry) is not None:
            continue
        ranks = {"ranks": USUAL_RANKS[: card.modes]} if "ranks" in method.model_fields else {}
        chosen = METHOD_ADAPTER.validate_python({"kind": kind, **ranks})
        estimate(name, chosen, layers="all", batch_size=64, image_size=size, convention="exact")


def drawn_profile(number: int) -> LayerProfile:
    """A layer whose candidates have lower error at higher cost, as real ones."""
    draw = random.Random(number)  # noqa: S311
    sizes = sorted(draw.randrange(1_000, 4_000_000) for _ in range(_CANDIDATES))
    errors = [*sorted((draw.random() for _ in range(_CANDIDATES - 1)), reverse=True), 0.0]
    candidates = [
        Candidate(share / _CANDIDATES, (1, 1, 1, 1), size, error)
        for share, (size, error) in enumerate(zip(sizes, errors, strict=True), 1)
    ]
    return LayerProfile(str(number), (64, 96, 14, 14), ((1.0,),) * 4, tuple(candidates))


def main() -> None:
    profiles = [drawn_profile(number) for number in range(_LAYERS)]
    least = sum(min(c.activation_bytes for c in profile.candidates) for profile in profiles)
    most = sum(max(c.activation_bytes for c in profile.candidates) for profile in profiles)
    budgets = [least + (most - least) * share // 10 for share in range(1, 10)]
    print(
        json.dumps(
            {
                "estimates_ms": {
                    name: milliseconds(partial(all_estimates, name)) for name in MODELS
                },
                "plan_of_52_layers_ms": max(
                    milliseconds(partial(plan, profiles, budget)) for budget in budgets
                ),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
