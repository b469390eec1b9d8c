"""Two independent counts of the bytes that a forward pass leaves for backward.

The first records what PyTorch's autograd saves. It does not see a tensor that a function or a
module stores directly (`ctx.x = x`, `self.cache = x`). The second tracks every storage that the
forward pass creates, and checks afterwards which of them are still alive: it sees everything, but
not what it is kept for. Only numbers on which both agree are reported.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from asi_core.costs.dispatch import OperatorMode
from asi_core.costs.places import Place, Places
from asi_core.costs.storages import storage_reference, tensors_in
from asi_core.costs.timeline.records import Category
from asi_core.errors import AsiError
from asi_core.methods.base import WarmStart


@dataclass(slots=True)
class Storage:
    """A storage that is tracked without being kept alive.

    Attributes:
        nbytes: its whole size, even if only a view is kept.
        shape: of the first tensor seen with it.
        place: where it was created or, if it existed before, first saved.
    """

    reference: StorageWeakRef
    nbytes: int
    shape: tuple[int, ...]
    place: Place

    @property
    def is_alive(self) -> bool:
        return not self.reference.expired()


@dataclass(slots=True)
class SavedStorage(Storage):
    """A storage that autograd saves.

    Attributes:
        category: the first, in the order of `Category`, of all for which it is saved.
        layers: the trained layers that save it.
    """

    category: Category = Category.OTHER
    layers: set[str] = field(default_factory=set)


class MetersDisagree(AsiError):
    """The two counts of the bytes kept for backward differ: there is no number to report."""

    def __init__(self, saved: Mapping[int, Storage], living: Mapping[int, Storage]) -> None:
        self.saved_bytes, self.living_bytes = total_bytes(saved), total_bytes(living)
        differing = [
            (s, "kept alive by something else") for i, s in living.items() if i not in saved
        ]
        differing += [(s, "freed again") for i, s in saved.items() if i not in living]
        worst, fate = max(differing, key=lambda pair: pair[0].nbytes)
        super().__init__(
            f"autograd saves {self.saved_bytes} bytes for backward but {self.living_bytes} bytes "
            f"stay alive after the forward pass: the largest storage that differs, {worst.nbytes} "
            f"bytes of shape {worst.shape} from {worst.place.name}, is {fate}."
        )


class SavedMeter(torch.autograd.graph.saved_tensors_hooks):
    """While open, records the storages that autograd saves, and their purpose.

    Those of parameters and buffers are excluded: they exist anyway.
    """

    def __init__(self, model: nn.Module, places: Places) -> None:
        super().__init__(self._pack, lambda kept: kept)
        self.storages: dict[int, SavedStorage] = {}
        self._places = places
        self._kept_to_repeat: set[StorageWeakRef] = set()
        self._existing = _references([*model.parameters(), *model.buffers()])

    def _pack(self, tensor: Tensor) -> Tensor:
        reference = storage_reference(tensor)
        if reference not in self._existing and tensor.untyped_storage().nbytes() > 0:
            place, category = self._places.current, self._places.category
            if place.repeats:
                self._kept_to_repeat.add(reference)
            new = SavedStorage(*_description(tensor, reference), place, category)
            storage = self.storages.setdefault(reference.cdata, new)
            storage.category = min(storage.category, category, key=list(Category).index)
            storage.layers |= set() if place.layer is None else {place.layer}
        # A result saved by its own node would keep itself alive forever.
        return tensor.detach()

    def attribute_repeated(self) -> None:
        """Attribute inputs of repeated blocks to the trained layers that have read them by now."""
        for reference in self._kept_to_repeat:
            layer = self._places.read_by.get(reference)
            if layer is not None:
                storage = self.storages[reference.cdata]
                storage.category = Category.TRAINED_INPUTS
                storage.layers.add(layer)


class LivingMeter(OperatorMode):
    """While open, records every storage that an operation creates, without keeping it alive.

    What exists before the forward pass is not recorded: parameters, buffers, constants, and warm
    starts. Record the batch with `watch`.
    """

    def __init__(self, places: Places) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: dict[int, Storage] = {}
        self._places = places
        self._older: set[StorageWeakRef] = set()

    def watch(self, values: Any) -> None:
        """Record the storages of all tensors in `values`."""
        for tensor in tensors_in(values):
            reference = storage_reference(tensor)
            if reference not in self._older and tensor.untyped_storage().nbytes() > 0:
                new = Storage(*_description(tensor, reference), self._places.current)
                self.storages.setdefault(reference.cdata, new)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        found = _references(tensors_in((args, kwargs)))
        self._older |= {r for r in found if r.cdata not in self.storages}
        result = func(*args, **kwargs)
        self.watch(result)
        return result


def agreed_storages(
    model: nn.Module, saved: SavedMeter, living: LivingMeter
) -> Mapping[int, SavedStorage]:
    """What the forward pass keeps for backward, if both counts agree.

    Call it when only the graph is still held. Parameters, buffers and warm starts of the next step
    do not count as kept for backward, unless they are also saved.

    Raises:
        MetersDisagree: if they do not agree.
    """
    gc.collect()
    saved.attribute_repeated()
    carried = {reference.cdata for reference in _references(carried_tensors(model))}
    known: dict[int, Storage] = {**living.storages, **saved.storages}
    alive = {
        key: storage
        for key, storage in known.items()
        if storage.is_alive and (key in saved.storages or key not in carried)
    }
    if alive.keys() != saved.storages.keys():
        raise MetersDisagree(saved.storages, alive)
    return saved.storages


def total_bytes(storages: Mapping[int, Storage]) -> int:
    """The sum of the storages' sizes."""
    return sum(storage.nbytes for storage in storages.values())


def carried_tensors(model: nn.Module) -> list[Tensor]:
    """The tensors that `model` carries to the next step: parameters, buffers, warm starts."""
    return [*model.parameters(), *model.buffers(), *warm_tensors(model)]


def warm_tensors(model: nn.Module) -> list[Tensor]:
    """What compressed layers carry to the next step."""
    attributes = [value for module in model.modules() for value in vars(module).values()]
    starts = [value for value in attributes if isinstance(value, WarmStart)]
    return tensors_in([[getattr(start, f.name) for f in fields(start)] for start in starts])


def _references(tensors: Iterable[Tensor]) -> set[StorageWeakRef]:
    return {storage_reference(tensor) for tensor in tensors}


def _description(
    tensor: Tensor, reference: StorageWeakRef
) -> tuple[StorageWeakRef, int, tuple[int, ...]]:
    return reference, tensor.untyped_storage().nbytes(), tuple(tensor.shape)
