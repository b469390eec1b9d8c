"""All benchmarks together, with a summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import geometric_mean
from typing import Any

import torch

from asi_core.bench import end_to_end, kernels, memory
from asi_core.bench.end_to_end import CaseTimes, cases
from asi_core.bench.environment import environment
from asi_core.bench.kernels import LayerTimes
from asi_core.bench.memory import CaseBytes
from asi_core.bench.tails import Case

PARTS = ("memory", "kernels", "end_to_end")
# Shares of the time for the two longest benchmarks.
_KERNELS_SHARE = 0.15
# By batch size: the compared configurations.
_COMPARED = {
    "vanilla_nchw": ("asi", "asi_refreshed", "asi_late", "asi_needed"),
    "vanilla_nhwc": ("asi", "asi_refreshed", "asi_late", "asi_needed", "vanilla_lean"),
    "checkpointing": ("asi",),
}

Progress = Callable[[str], None]


def bench(
    minutes: float,
    device: torch.device,
    parts: Sequence[str] = PARTS,
    tell: Progress = print,
    chosen: Sequence[Case] | None = None,
) -> dict[str, Any]:
    """Run the benchmarks, for JSON.

    Args:
        minutes: approximate time limit; on a slow machine the minimum number of rounds takes
            longer.
        tell: called with one line per case.
        chosen: the cases; by default all. Memory and kernels are measured at the smallest batch.
    """
    found: dict[str, Any] = {"environment": environment(device), "summary": {}}
    chosen = cases() if chosen is None else chosen
    least = min(case.batch_size for case in chosen)
    small = [case for case in chosen if case.batch_size == least]
    if "memory" in parts:
        kept = [
            _reported(bytes_, f"{bytes_.case.name}: {bytes_.ratio('asi'):.1f}x", tell)
            for bytes_ in memory.run(small, device)
        ]
        found["memory"] = [case.as_dict() for case in kept]
        found["summary"] |= _memory_summary(kept)
    if "kernels" in parts:
        # The last two layers are among the last four.
        deepest = max(case.layers for case in small)
        deep = [case for case in small if case.layers == deepest]
        layers = list(kernels.run(deep, 60 * minutes * _KERNELS_SHARE / 20, device))
        found["kernels"] = [layer.as_dict() for layer in layers]
        found["summary"] |= _kernel_summary(layers)
        tell(f"{len(layers)} layers")
    if "end_to_end" in parts:
        seconds = 60 * minutes * (1 - _KERNELS_SHARE) / len(chosen)
        steps = [
            _reported(times, f"{times.case.name}: {times.ratio('vanilla_nchw', 'asi'):.2f}x", tell)
            for times in end_to_end.run(chosen, seconds, device)
        ]
        found["end_to_end"] = [times.as_dict() for times in steps]
        found["summary"] |= _step_summary(steps)
    return found


def _reported(case: Any, line: str, tell: Progress) -> Any:
    tell(line)
    return case


def _memory_summary(kept: Sequence[CaseBytes]) -> dict[str, Any]:
    return {
        "memory_ratio": {
            way: {"least": min(ratios), "geometric_mean": geometric_mean(ratios)}
            for way in ("vanilla_lean", "asi", "asi_half", "eight_bit", "checkpointing")
            if (ratios := [case.ratio(way) for case in kept])
        },
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
    """By batch size: geometric means over the cases, and the worst case."""
    summary = {}
    for batch in sorted({times.case.batch_size for times in steps}):
        chosen = [times for times in steps if times.case.batch_size == batch]
        pairs = [(slow, fast) for slow, others in _COMPARED.items() for fast in others]
        for slow, fast in pairs:
            ratios = [t.ratio(slow, fast) for t in chosen if {slow, fast} <= set(t.times)]
            if ratios:
                summary[f"batch_{batch}_{slow}_over_{fast}"] = {
                    "geometric_mean": geometric_mean(ratios),
                    "least": min(ratios),
                }
    return {"steps": summary}
