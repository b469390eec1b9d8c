"""The parts of an ASI step: compression, weight gradients, and the rest."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any, ClassVar, cast

import torch

from asi_core.bench.tails import WAYS, Case, Tail
from asi_core.bench.timing import now
from asi_core.methods import ASI, USUAL_RANKS
from asi_core.methods.base import Saved

_STEPS, _WARM_STEPS = 3, 1


class _TimedASI(ASI):
    """ASI that records the time of its two own parts."""

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


def parts_of_step(case: Case, device: torch.device) -> dict[str, float]:
    """Median seconds per step: "compression", "weight_gradients" and "rest"."""
    tail = Tail(
        case, WAYS["asi"].with_method(_TimedASI(ranks=USUAL_RANKS, update="every_step")), device
    )
    rows = [_timed_step(tail, device) for _ in range(_WARM_STEPS + _STEPS)][_WARM_STEPS:]
    return {part: median(row[part] for row in rows) for part in rows[0]}


def _timed_step(tail: Tail, device: torch.device) -> dict[str, float]:
    _TimedASI.seconds.clear()
    before = now(device)
    tail.step()
    total = now(device) - before
    parts = {name: _TimedASI.seconds[name] for name in ("compression", "weight_gradients")}
    return {**parts, "rest": total - sum(parts.values())}
