"""The timeline of a real step, by two counts that must agree."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Any, Protocol

from torch import nn

from asi_core.costs.measurement import refuse_compiled
from asi_core.costs.timeline.allocator import Allocations, Level, allocations_of
from asi_core.costs.timeline.recording import HasState, Recorder, StepRecorder
from asi_core.costs.timeline.records import Timeline
from asi_core.costs.timeline.shapes_only import RuledFollower
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

    The first step warms up warm starts and kernels.

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
    step(Recorder())
    record = MeasuredStep(model, layer_names, head, batch=batch, optimiser=optimiser, frozen=frozen)
    with record as recorder:
        step(recorder)
    return record.timeline()


class MeasuredStep:
    """While open, records one step; give the step what opening returns.

    On CPU and CUDA the allocator's own reports are a second count, which must agree with the
    storages' lifetimes between any two operators, and which alone sees what operators use within.
    On other devices that part is missing.

    Args:
        model, layer_names, head, batch, optimiser, frozen: as in `measure_timeline`.
        by_allocator: whether the allocator counts as well. If not, the storages' lifetimes are the
            only count, and on CPU what operators use within is by the rules of `inside`. Nothing
            can disagree then, and what else the process does makes no difference.
    """

    def __init__(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        head: str | None,
        *,
        batch: Any,
        optimiser: HasState | None = None,
        frozen: nn.Module | None = None,
        by_allocator: bool = True,
    ) -> None:
        device = next(model.parameters()).device
        self._device = device.type
        self._allocations = allocations_of(device) if by_allocator else None
        self._record = StepRecorder(
            model,
            layer_names,
            head,
            optimiser=optimiser,
            batch=batch,
            frozen=frozen,
            device=self._device,
            **self._what_is_within(),
        )
        self._open = ExitStack()

    def _what_is_within(self) -> dict[str, Any]:
        """How the recorder finds what operators use within; not at all on other devices."""
        if self._allocations is not None:
            return {"mark": self._allocations.mark}
        return {"follower": RuledFollower} if self._device == "cpu" else {}

    def __enter__(self) -> StepRecorder:
        if self._allocations is not None:
            # What earlier steps have left in reference cycles would be released during this one.
            gc.collect()
            self._open.enter_context(self._allocations)
            self._allocations.mark()
        return self._open.enter_context(self._record)

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def timeline(self) -> Timeline:
        """The recorded step, once it is closed.

        Raises:
            TimelinesDisagree: if the two counts differ.
        """
        if self._allocations is None:
            return self._record.timeline("measured", self._device)
        levels = _from_start(self._allocations, self._record)
        _check_agreement(self._record, levels)
        return self._record.timeline("measured", self._device, levels)


def _from_start(allocations: Allocations, record: StepRecorder) -> list[Level]:
    """The levels before, within and after each operator, above that at the step's start."""
    before, *own = allocations.levels()
    released = [0] * (len(own) + 1)
    if not allocations.sees_earlier:
        for end, nbytes in record.released_of_before():
            # The place of what lies between two operators, the later of which is `end`.
            released[2 * end] += nbytes
    lost = accumulate(released)
    return [
        Level(level.highest - before.last - gone, level.last - before.last - gone)
        for level, gone in zip(own, lost, strict=False)
    ]


def _check_agreement(record: StepRecorder, levels: Sequence[Level]) -> None:
    ends = [level.last for level in levels[1::2]]
    for ran, allocated, followed in zip(record.ran, ends, record.boundaries(), strict=True):
        if abs(allocated - followed) > _NUMBERS:
            raise TimelinesDisagree(f"{ran.operator} in {ran.place}", allocated, followed)
