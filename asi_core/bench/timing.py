"""Alternating measurements: everything that is compared meets the same disturbances."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import torch

_WARM_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of something that was done several times.

    Attributes:
        low, high: the quartiles.
    """

    median: float
    low: float
    high: float
    rounds: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def alternating(
    ways: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, Timing]:
    """Time several ways of doing the same, one after the other, `rounds` times.

    Rounds before the first, which are not told, settle warm starts, caches and the allocator. Every
    other round goes backwards, so that none always follows the same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-_WARM_ROUNDS, rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            started = _now(device)
            ways[name]()
            taken = _now(device) - started
            if number >= 0:
                seconds[name].append(taken)
    return {name: _timing(taken) for name, taken in seconds.items()}


def _timing(seconds: list[float]) -> Timing:
    low, _, high = quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    return Timing(median(seconds), low, high, len(seconds))


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
