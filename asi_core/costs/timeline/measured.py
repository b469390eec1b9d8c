"""The timeline of a real step, by two counts that must agree."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import nn

from asi_core.costs.measurement import refuse_compiled
from asi_core.costs.timeline.allocator import Level, allocations_of
from asi_core.costs.timeline.recording import HasState, Recorder, StepRecorder
from asi_core.costs.timeline.records import Timeline
from asi_core.errors import AsiError

# PyTorch makes a tensor of each number that an operator is given, which no operator returns.
_NUMBERS = 64


class TimelinesDisagree(AsiError):
    """The allocator and the storages' lifetimes give different bytes between two operators."""

    def __init__(self, operator: str, allocated: int, followed: int) -> None:
        super().__init__(
            f"after {operator} the allocator holds {allocated} bytes more than before the step, "
            f"but the tensors that are alive then have {followed}: there is no timeline to report."
        )


class Step(Protocol):
    """One training step, which says to a recorder what it is doing."""

    def __call__(self, recorder: Recorder) -> None: ...


def measure_timeline(
    model: nn.Module,
    step: Step,
    layer_names: Sequence[str],
    head: str | None,
    *,
    batch: Any,
    optimiser: HasState | None = None,
    frozen: nn.Module | None = None,
) -> Timeline:
    """Run two steps and record the second: every change of live bytes, and what it was for.

    The first step warms up warm starts and kernels. On CPU and CUDA the allocator's own reports are
    a second count, which must agree with the storages' lifetimes between any two operators, and
    which alone sees what operators use within. On other devices that part is missing.

    Args:
        step: is called twice. Weights that it updates stay updated.
        layer_names: of the trained layers.
        head: name of the classifier; None for a model without.
        batch: what the step reads, in nested lists and tuples: it is there before the step.
        optimiser: whose state is counted.
        frozen: the part of the network that runs before `model`, if the step runs it.

    Raises:
        TimelinesDisagree: if the two counts differ.
        Unsupported: if the model is compiled, or works on tensors without storages.
    """
    refuse_compiled(model)
    device = next(model.parameters()).device
    allocations = allocations_of(device)

    def recorder(mark: Callable[[], None] | None = None) -> StepRecorder:
        return StepRecorder(
            model,
            layer_names,
            head,
            optimiser=optimiser,
            batch=batch,
            frozen=frozen,
            mark=mark,
        )

    if allocations is None:
        step(Recorder())
        with (record := recorder()):
            step(record)
        return record.timeline("measured", device.type)
    # Opened for the first step as well: blocks of unknown origin are not reported when released.
    with allocations:
        step(Recorder())
        # What the first step has left in reference cycles would be released during the second.
        gc.collect()
        allocations.mark()
        with (record := recorder(allocations.mark)):
            step(record)
    levels = _from_last_start(allocations.levels(), record)
    _check_agreement(record, levels)
    return record.timeline("measured", device.type, levels)


def _from_last_start(levels: Sequence[Level], record: StepRecorder) -> list[Level]:
    """The levels of the recorded step, above that at its start."""
    own = levels[-(2 * len(record.ran) + 1) :]
    start = levels[-len(own) - 1].last
    return [Level(level.highest - start, level.last - start) for level in own]


def _check_agreement(record: StepRecorder, levels: Sequence[Level]) -> None:
    ends = [level.last for level in levels[1::2]]
    for ran, allocated, followed in zip(record.ran, ends, record.boundaries(), strict=True):
        if abs(allocated - followed) > _NUMBERS:
            raise TimelinesDisagree(f"{ran.operator} in {ran.place}", allocated, followed)
