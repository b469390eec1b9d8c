"""Where a step of ASI goes: compression, weight gradients, and all else."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any, ClassVar, cast

import torch

from asi_core.bench.tails import RANKS, WAYS, Case, Tail
from asi_core.bench.timing import now
from asi_core.methods import ASI
from asi_core.methods.base import Saved

_STEPS, _WARM_STEPS = 7, 3


class _TimedASI(ASI):
    """ASI that notes how long its two own parts take."""

    seconds: ClassVar[defaultdict[str, float]] = defaultdict(float)

    def compress(self, *args: Any) -> Saved:
        return cast("Saved", self._timed("compression", super().compress, *args))

    def weight_gradient(self, *args: Any) -> torch.Tensor:
        return cast(torch.Tensor, self._timed("weight_gradients", super().weight_gradient, *args))

    def _timed(self, part: str, function: Any, *args: Any) -> Any:
        device = next(a.device for a in (*args, *args[0]) if isinstance(a, torch.Tensor))
        before = now(device)
        result = function(*args)
        self.seconds[part] += now(device) - before
        return result


def parts_of_step(case: Case, refresh_every: int, device: torch.device) -> dict[str, float]:
    """Median seconds a step: "compression", "weight_gradients" and "rest"."""
    way = WAYS["asi"].with_method(_TimedASI(ranks=RANKS, refresh_every=refresh_every))
    tail = Tail(case, way, device)
    rows = []
    # Whole rounds of refreshing, so that their mean is a step's.
    for _ in range(_WARM_STEPS + _STEPS):
        rows.append(_mean_step(tail, refresh_every, device))
    return {part: median(row[part] for row in rows[_WARM_STEPS:]) for part in rows[0]}


def _mean_step(tail: Tail, steps: int, device: torch.device) -> dict[str, float]:
    _TimedASI.seconds.clear()
    before = now(device)
    for _ in range(steps):
        tail.step()
    total = now(device) - before
    parts = {name: _TimedASI.seconds[name] for name in ("compression", "weight_gradients")}
    parts["rest"] = total - sum(parts.values())
    return {name: seconds / steps for name, seconds in parts.items()}
