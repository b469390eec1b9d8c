"""Seconds of a layer's compression and weight gradient, at each candidate's ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import torch

from asi_core.errors import InvalidInput
from asi_core.layers.watching import Watched
from asi_core.methods import Method
from asi_core.methods.base import WarmStart
from asi_core.planning import LayerProfile
from asi_core.records import LayerShape, Ranks


def with_seconds(
    profile: LayerProfile, shape: LayerShape, seen: Watched, method: Method, rounds: int
) -> LayerProfile:
    """The profile, with measured seconds for each candidate: of compression and weight gradient.

    The rest of a step is the same for all candidates. They take turns, so that a disturbance meets
    all of them, and medians are taken. The first rounds, which are not counted, find the warm
    starts.

    Args:
        seen: the layer's input and output gradient in one step.
        rounds: number of timings per candidate, at least 1.
    """
    steps = [_step(shape, seen, method, candidate.ranks) for candidate in profile.candidates]
    taken: list[list[float]] = [[] for _ in steps]
    for number in range(method.warm_up_steps + rounds):
        for step, seconds in zip(steps, taken, strict=True):
            started = _now(seen)
            step()
            if number >= method.warm_up_steps:
                seconds.append(_now(seen) - started)
    candidates = zip(profile.candidates, taken, strict=True)
    return replace(
        profile, candidates=tuple(replace(c, seconds=median(found)) for c, found in candidates)
    )


def _step(
    shape: LayerShape, seen: Watched, method: Method, ranks: Ranks
) -> Callable[[], torch.Tensor]:
    x, gradient = seen.x, seen.grad_output
    assert x is not None
    assert gradient is not None
    memory = WarmStart(ranks=ranks)

    @torch.no_grad()
    def step() -> torch.Tensor:
        saved = method.compress(x, tuple(gradient.shape), shape.geometry, memory)
        return method.weight_gradient(saved, gradient, shape.weight_shape, shape.geometry)

    return step


def _now(seen: Watched) -> float:
    assert seen.x is not None
    if seen.x.device.type != "cpu":
        torch.accelerator.synchronize(seen.x.device)
    return time.perf_counter()


def step_macs(method: Method, shape: LayerShape, ranks: Ranks) -> int | None:
    """Multiply-accumulates of compression and weight gradient by formula; None without ranks."""
    if not method.has_ranks:
        return None
    macs = method.macs(shape, ranks, "exact")
    return macs.overhead + macs.weight_gradient


def timed(
    profiles: Sequence[LayerProfile],
    met: Sequence[tuple[LayerShape, Sequence[Watched]]],
    method: Method,
    rounds: int,
) -> list[LayerProfile]:
    """`with_seconds` of each profile, on the first batch that its layer met; as they are for no
    rounds.

    Raises:
        InvalidInput: if `rounds` is negative.
    """
    if rounds < 0:
        raise InvalidInput("timing rounds must be at least 0", rounds, "choose 5")
    if rounds == 0:
        return list(profiles)
    return [
        with_seconds(profile, shape, seen[0], method, rounds)
        for profile, (shape, seen) in zip(profiles, met, strict=True)
    ]
