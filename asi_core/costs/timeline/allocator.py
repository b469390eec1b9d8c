"""The allocator's own count of bytes, which also sees what operators use inside themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, Self

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import profile as autograd_profile

# Sizes of two tensors that lie within each other and mark a moment among the allocator's events:
# no operator allocates just these four events in a row. CUDA's allocator works in blocks of 512
# bytes.
_OUTER, _INNER = 13, 17
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Level:
    """Bytes between two marks, relative to the start: the most, and at the second mark."""

    highest: int
    last: int


class Allocations(Protocol):
    """While open, records every allocation and release of a device.

    Attributes:
        sees_earlier: whether it reports the release of what was allocated before it was opened.
    """

    sees_earlier: bool

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def mark(self) -> None:
        """Mark this moment."""

    def levels(self) -> list[Level]:
        """Up to the first mark, between marks, and after the last."""


def allocations_of(device: torch.device) -> Allocations | None:
    """A record for a device; None if PyTorch reports no allocations there."""
    match device.type:
        case "cpu":
            return CpuAllocations()
        case "cuda":
            return CudaAllocations(device)
    return None


class CpuAllocations:
    """What PyTorch's CPU allocator reports to the profiler.

    oneDNN's own scratch memory is not among it.
    """

    sees_earlier = False

    def __init__(self) -> None:
        # As torch.profiler's profile, which imports the compiler when it starts.
        self._profile = autograd_profile(profile_memory=True)

    def __enter__(self) -> Self:
        self._profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profile.__exit__(*error)

    def mark(self) -> None:
        _nested(1, torch.device("cpu"))

    def levels(self) -> list[Level]:
        profiler: Any = self._profile
        # In their order, which moments alone do not always give.
        waiting, found = profiler.kineto_results.experimental_event_tree()[::-1], []
        while waiting:
            event = waiting.pop()
            waiting += event.children[::-1]
            kind, fields = event.typed
            if kind == _EventType.Allocation:
                found.append((event.start_time_ns, fields.ptr, fields.alloc_size))
        return _levels(list(_of_this_record(sorted(found, key=lambda change: change[0]))), 1)


class CudaAllocations:
    """What PyTorch's CUDA allocator notes in its history: sizes as requested, which are those of
    storages, before they are rounded to its blocks.
    """

    sees_earlier = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._changes: list[int] = []

    def __enter__(self) -> Self:
        torch.cuda.synchronize(self._device)
        torch.cuda.memory._record_memory_history(
            context=None, stacks="python", max_entries=2_000_000
        )
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda.synchronize(self._device)
        snapshot = torch.cuda.memory._snapshot(self._device)
        torch.cuda.memory._record_memory_history(enabled=None)
        index: int | None = self._device.index
        traces = snapshot["device_traces"][torch.cuda.current_device() if index is None else index]
        signs = {"alloc": 1, "free_requested": -1}
        self._changes = [signs[e["action"]] * e["size"] for e in traces if e["action"] in signs]

    def mark(self) -> None:
        _nested(_BLOCK, self._device)

    def levels(self) -> list[Level]:
        return _levels(self._changes, _BLOCK)


def _of_this_record(changes: Iterable[tuple[int, int, int]]) -> Iterator[int]:
    """The sizes of allocations, and of the releases of what was allocated in this record.

    The profiler also reports the release of what an earlier record of this process has seen
    allocated, at any time later, but of nothing else that was there before.

    Args:
        changes: moment, address, and bytes, negative for a release; in order.
    """
    there = set()
    for _, address, nbytes in changes:
        if nbytes > 0:
            there.add(address)
        elif address not in there:
            continue
        else:
            there.remove(address)
        yield nbytes


def _nested(unit: int, device: torch.device) -> None:
    outer = torch.empty(_OUTER * unit, dtype=torch.uint8, device=device)
    inner = torch.empty(_INNER * unit, dtype=torch.uint8, device=device)
    del inner
    del outer


def _levels(changes: Sequence[int], unit: int) -> list[Level]:
    bounds = [0, *_marks(changes, unit), len(changes)]
    found, level = [], 0
    for start, end in pairwise(bounds):
        highest = level
        for change in changes[start:end]:
            level += change
            highest = max(highest, level)
        found.append(Level(highest, level))
    return found


def _marks(changes: Sequence[int], unit: int) -> Iterator[int]:
    """The indices after each mark."""
    outer, inner = _OUTER * unit, _INNER * unit
    mark = [outer, inner, -inner, -outer]
    for index in range(len(changes) - 3):
        if changes[index] == outer and list(changes[index : index + 4]) == mark:
            yield index + 4
