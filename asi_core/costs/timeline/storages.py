"""Following every storage through a step, from the operator that makes it to its release."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from asi_core.costs.dispatch import OperatorMode
from asi_core.costs.places import Place, Places
from asi_core.costs.storages import storage_reference, tensors_in
from asi_core.costs.timeline.allocator import Level
from asi_core.costs.timeline.records import Phase

# As `StorageWeakRef.expired`, which takes most of the time of a step on shapes.
_expired = torch.UntypedStorage._expired
# Place of what was there before the step.
_BEFORE = "before the step"


@dataclass(slots=True)
class Followed:
    """A storage, not kept alive. `end` is None as long as it lives."""

    reference: StorageWeakRef
    nbytes: int
    place: str
    first: int
    use: str | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """An operator that has run."""

    phase: Phase
    place: str
    operator: str


class StorageFollower(OperatorMode):
    """While open, notes which operators run and which storages are alive after each.

    Memory that an operator allocates and frees within is not seen (`allocator`).

    Args:
        places: open during the forward pass; says which module runs.
        mark: called before and after every operator.
        device: type of the device whose storages are followed; None for all.

    Attributes:
        ran: the operators, in order.
        followed: all storages, in the order in which they were made.
        levels: of memory within operators, if a derived class knows them.
    """

    def __init__(
        self,
        places: Places,
        mark: Callable[[], None] = lambda: None,
        device: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ran: list[Ran] = []
        self.followed: list[Followed] = []
        self.levels: list[Level] = []
        self._places, self._mark, self._device = places, mark, device
        self._alive: dict[int, Followed] = {}
        self._is_update = False

    def know(self, tensors: Iterable[Tensor], use: str) -> None:
        """Note storages that are there before the step; the first use counts."""
        for tensor in tensors:
            self._add(tensor, -1, _BEFORE)
            self.use_as(tensor, use)

    def use_as(self, tensor: Tensor, use: str) -> None:
        """Note what the storage of a tensor is used for, if nothing is known yet."""
        found = self._alive.get(storage_reference(tensor).cdata)
        if found is not None and found.use is None:
            found.use = use

    @contextmanager
    def updating(self) -> Iterator[None]:
        """What runs within belongs to the update of the weights."""
        self._is_update = True
        try:
            yield
        finally:
            self._is_update = False

    def finish(self) -> None:
        """Note which storages have been released since the last operator."""
        self._bury(len(self.ran))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.prim.device.default:
            # A question that tensors without numbers ask here, and no operator.
            return func(*args)
        kwargs = kwargs or {}
        index = len(self.ran)
        self._bury(index)
        for tensor in tensors_in((args, kwargs)):
            # Constants, labels and the like, which nobody has named.
            self._add(tensor, -1, _BEFORE)
        self._mark()
        result = self.run(func, args, kwargs)
        self._mark()
        phase, place = self._where()
        self.ran.append(Ran(phase, place.name, str(func).removeprefix("aten.")))
        for tensor in tensors_in(result):
            self._add(tensor, index, place.name)
        return result

    def run(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The operator's result."""
        return func(*args, **kwargs)

    def _where(self) -> tuple[Phase, Place]:
        if self._is_update:
            return "update", Place("the update")
        node: Any = torch._C._current_autograd_node()
        if node is not None:
            # A block that is computed again runs within the backward pass.
            inside = self._places.is_in_module
            return "backward", self._places.current if inside else self._places.of_node(node)
        return "forward", self._places.current

    def _add(self, tensor: Tensor, first: int, place: str) -> None:
        if self._device not in (None, tensor.device.type):
            # Indices and the like, which are made on the processor, are not the device's memory.
            return
        reference = storage_reference(tensor)
        if reference.cdata not in self._alive:
            found = Followed(reference, tensor.untyped_storage().nbytes(), place, first)
            self._alive[reference.cdata] = found
            self.followed.append(found)

    def _bury(self, index: int) -> None:
        ended = [key for key in self._alive if _expired(key)]
        for key in ended:
            self._alive.pop(key).end = index
