"""Whole training steps of trained tails, in all configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import geometric_mean
from typing import Any

import torch

from asi_core.bench.parts import parts_of_step
from asi_core.bench.tails import WAYS, Case, Tail
from asi_core.bench.timing import Timing, alternating
from asi_core.costs.accounting import step_cost
from asi_core.methods import Vanilla
from asi_core.records import LayerShape
from asi_core.training.layout import layout_name

NETWORKS = ("mcunet_in1", "mobilenet_v2", "resnet18", "resnet34")
LAYERS = (2, 4)
BATCHES = (64, 256)
# The configurations timed for a large batch, which takes four times as long.
_OF_LARGE_BATCHES = (
    *("vanilla_nchw", "vanilla_nhwc", "asi"),
    *("hosvd", "gradient_filter", "checkpointing"),
)
_OF_SMALL_BATCHES = tuple(name for name in WAYS if name != "asi_half")


@dataclass(frozen=True, slots=True)
class CaseTimes:
    """Seconds per step by configuration, and the limit that arithmetic alone would allow.

    Attributes:
        layouts: the memory layout of each configuration.
        arithmetic_limit: multiplies of vanilla's step over those without the weight gradients.
        parts: seconds of ASI's step by part, for each configuration.
    """

    case: Case
    times: Mapping[str, Timing]
    layouts: Mapping[str, str]
    arithmetic_limit: float
    parts: Mapping[str, Mapping[str, float]]

    def ratio(self, slower: str, faster: str) -> float:
        """One configuration's median time over another's."""
        return self.times[slower].median / self.times[faster].median

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.case.as_dict(),
            "seconds": {name: timing.as_dict() for name, timing in self.times.items()},
            "layouts": dict(self.layouts),
            "arithmetic_limit": self.arithmetic_limit,
            "parts": {name: dict(parts) for name, parts in self.parts.items()},
        }


def cases(batches: Sequence[int] = BATCHES) -> list[Case]:
    """All networks, numbers of layers and batch sizes."""
    return [Case(m, k, b) for b, m, k in product(batches, NETWORKS, LAYERS)]


def run(
    chosen: Sequence[Case], seconds: float, device: torch.device, ways: Sequence[str] | None = None
) -> Iterator[CaseTimes]:
    """Time steps, case by case.

    Args:
        seconds: approximate time limit per case.
        ways: configurations to compare; None for all, or the most important for large batches.
    """
    for case in chosen:
        is_small = case.batch_size <= BATCHES[0]
        names = ways or (_OF_SMALL_BATCHES if is_small else _OF_LARGE_BATCHES)
        tails = {name: Tail(case, WAYS[name], device) for name in names}
        steps: dict[str, Callable[[], object]] = {name: tail.step for name, tail in tails.items()}
        settle: dict[str, Callable[[], object]] = {n: tail.settle for n, tail in tails.items()}
        times = alternating(steps, seconds, device, settle)
        layouts = {name: layout_name(tail.layout) for name, tail in tails.items()}
        shapes = next(iter(tails.values())).shapes
        # A small batch leaves time for more detail.
        parts = {"asi": parts_of_step(case, device)} if is_small and "asi" in names else {}
        yield CaseTimes(case, times, layouts, arithmetic_limit(shapes), parts)


def arithmetic_limit(shapes: Sequence[LayerShape]) -> float:
    """Vanilla's multiplies over those of forward and input gradients, which no method here
    saves."""
    macs = step_cost(shapes, Vanilla(), "exact").macs
    return macs.total / (macs.total - macs.weight_gradient)


def mean_ratio(found: Sequence[CaseTimes], slower: str, faster: str) -> float:
    """The geometric mean of the ratios over cases."""
    return geometric_mean(times.ratio(slower, faster) for times in found)
