"""Alternating measurements, so that disturbances affect all compared functions equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import torch

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 15
# Rounds of at least this many seconds are long: two of them are enough.
_LONG_ROUND, _LEAST_LONG_ROUNDS = 8.0, 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Statistics of repeated timings, in seconds.

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
    settle: Mapping[str, Callable[[], object]] | None = None,
    clock: Callable[[torch.device], float] | None = None,
) -> dict[str, Timing]:
    """Time several functions, alternating between them.

    A first round, which is not reported, settles warm starts, caches and the allocator. Every
    second round runs in reverse order, so that none always follows the same one.

    Args:
        seconds: approximate time limit of the rounds together. At least 3 are made, or 2 long ones,
            and at most 15.
        settle: called in the first round instead, if a whole round takes long.
        clock: the seconds so far, which are reported; by default those of a wall clock (`now`).
    """
    read = clock or now
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in (settle or ways).values():
        _seconds(way, device, read)
    started, number = time.perf_counter(), 0
    while _goes_on(number, time.perf_counter() - started, seconds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            taken[name].append(_seconds(ways[name], device, read))
        number += 1
    return {name: _timing(all_) for name, all_ in taken.items()}


def _goes_on(rounds: int, passed: float, seconds: float) -> bool:
    """Whether another round is needed, or one as long as the previous ones still fits."""
    is_long = rounds > 0 and passed / rounds > _LONG_ROUND
    if rounds < (_LEAST_LONG_ROUNDS if is_long else _LEAST_ROUNDS):
        return True
    return rounds < _MOST_ROUNDS and passed * (1 + 1 / rounds) <= seconds


def _seconds(
    way: Callable[[], object], device: torch.device, read: Callable[[torch.device], float]
) -> float:
    started = read(device)
    way()
    return read(device) - started


def _timing(seconds: list[float]) -> Timing:
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return Timing(median(seconds), low, high, len(seconds))


def now(device: torch.device) -> float:
    """Seconds, after synchronising the device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
