"""All benchmarks together, and what they say in a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import geometric_mean
from typing import Any

import torch

from asi_core.bench import end_to_end, kernels, memory
from asi_core.bench.end_to_end import BATCHES, CaseTimes, cases
from asi_core.bench.environment import environment
from asi_core.bench.kernels import LayerTimes
from asi_core.bench.memory import CaseBytes

PARTS = ("memory", "kernels", "end_to_end")
# Shares of the time given to the two that take some.
_KERNELS_SHARE = 0.15
_COMPARED = ("asi", "asi_refreshed")

Progress = Callable[[str], None]


def bench(
    minutes: float, device: torch.device, parts: Sequence[str] = PARTS, tell: Progress = print
) -> dict[str, Any]:
    """Run the benchmarks, for JSON.

    Args:
        minutes: about how long they may take; on a slow machine the least number of rounds takes
            longer.
        tell: given a line a case.
    """
    found: dict[str, Any] = {"environment": environment(device), "summary": {}}
    small = cases(BATCHES[:1])
    if "memory" in parts:
        kept = [_told(c, f"{c.case.name}: {c.ratio:.1f}x", tell) for c in memory.run(small, device)]
        found["memory"] = [case.as_dict() for case in kept]
        found["summary"] |= _memory_summary(kept)
    if "kernels" in parts:
        layers = list(kernels.run(small, 60 * minutes * _KERNELS_SHARE / 20, device))
        found["kernels"] = [layer.as_dict() for layer in layers]
        found["summary"] |= _kernel_summary(layers)
        tell(f"{len(layers)} layers")
    if "end_to_end" in parts:
        chosen = cases()
        seconds = 60 * minutes * (1 - _KERNELS_SHARE) / len(chosen)
        steps = [
            _told(times, f"{times.case.name}: {times.ratio('vanilla_nchw', 'asi'):.2f}x", tell)
            for times in end_to_end.run(chosen, seconds, device)
        ]
        found["end_to_end"] = [times.as_dict() for times in steps]
        found["summary"] |= _step_summary(steps)
    return found


def _told(case: Any, line: str, tell: Progress) -> Any:
    tell(line)
    return case


def _memory_summary(kept: Sequence[CaseBytes]) -> dict[str, Any]:
    return {
        "least_memory_ratio": min(case.ratio for case in kept),
        "lossless": all(case.lossless for case in kept),
    }


def _kernel_summary(layers: Sequence[LayerTimes]) -> dict[str, Any]:
    def ratio(slow: str, fast: str) -> float:
        pairs = [(x.compress[slow].median, x.compress[fast].median) for x in layers]
        return geometric_mean(a / b for a, b in pairs)

    return {
        "hosvd_svd_over_gram": ratio("hosvd_svd", "hosvd_gram"),
        "hosvd_over_asi": ratio("hosvd_gram", "asi"),
        "not_sequential_over_sequential": ratio("asi_not_sequential", "asi"),
    }


def _step_summary(steps: Sequence[CaseTimes]) -> dict[str, Any]:
    """By batch size: geometric means over the cases, and the worst of them."""
    summary = {}
    for batch in BATCHES:
        chosen = [times for times in steps if times.case.batch_size == batch]
        for way in _COMPARED:
            for vanilla in ("vanilla_nchw", "vanilla_nhwc"):
                ratios = [times.ratio(vanilla, way) for times in chosen]
                summary[f"batch_{batch}_{vanilla}_over_{way}"] = {
                    "geometric_mean": geometric_mean(ratios),
                    "least": min(ratios),
                }
    return {"steps": summary}
