"""Alternating measurements: everything that is compared meets the same disturbances."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import torch

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 15


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
    ways: Mapping[str, Callable[[], object]],
    seconds: float,
    device: torch.device,
    least_rounds: int = _LEAST_ROUNDS,
) -> dict[str, Timing]:
    """Time several ways of doing the same, one after the other, again and again.

    A first round, which is not told, settles warm starts, caches and the allocator. Every other
    round goes backwards, so that none always follows the same one.

    Args:
        seconds: about how long all rounds together may take; at most 15 are made.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    started = time.perf_counter()
    for way in ways.values():
        _seconds(way, device)
    rounds = int(seconds / (time.perf_counter() - started))
    for number in range(min(max(rounds, least_rounds), _MOST_ROUNDS)):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            taken[name].append(_seconds(ways[name], device))
    return {name: _timing(all_) for name, all_ in taken.items()}


def _seconds(way: Callable[[], object], device: torch.device) -> float:
    started = now(device)
    way()
    return now(device) - started


def _timing(seconds: list[float]) -> Timing:
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return Timing(median(seconds), low, high, len(seconds))


def now(device: torch.device) -> float:
    """Seconds, with the device's queue drained."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
