"""Tracking which part of a model is running."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import Node
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from asi_core.costs.categories import function_category, module_category
from asi_core.costs.storages import storage_reference, tensors_in
from asi_core.costs.timeline.records import Category


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a training step.

    Attributes:
        name: of the module in the model.
        category: of everything kept here; None if it depends on the called function.
        layer: the trained layer that this is, or that contains it.
        repeats: whether it keeps its inputs to be recomputed before its backward pass.
    """

    name: str
    category: Category | None = None
    layer: str | None = None
    repeats: bool = False


class Places(TorchFunctionMode):
    """While open, tracks the running module, and the function that it calls.

    Modules are tracked by hooks, functions by a mode of this thread. The mode sees the outermost
    call (`F.relu`, not the kernels below), during which PyTorch saves for backward. A module whose
    `forward` is called directly is not seen.

    Attributes:
        read_by: storages that trained layers read as inputs -> the first layer that read it.
    """

    def __init__(self, model: nn.Module, layer_names: Sequence[str], head: str | None) -> None:
        super().__init__()
        self._places = _places(model, layer_names, head)
        self._entered = [Place("the batch")]
        # autograd numbers its nodes as it makes them: the first number of each stay in a module.
        self._numbers, self._stays = [0], [self._entered[0]]
        self._function: Category | None = None
        self._handles: list[RemovableHandle] = []
        self.read_by: dict[StorageWeakRef, str] = {}

    @property
    def current(self) -> Place:
        """The innermost module that is running."""
        return self._entered[-1]

    @property
    def category(self) -> Category:
        """The category of what is kept now: the innermost module's, or else the called
        function's."""
        return self.current.category or self._function or Category.OTHER

    @property
    def is_in_module(self) -> bool:
        """Whether a module is running."""
        return len(self._entered) > 1

    def of_node(self, node: Node) -> Place:
        """The innermost module that ran when autograd made `node`."""
        if node.name().endswith("AccumulateGrad"):
            return Place("gradient accumulation")
        return self._stays[bisect_right(self._numbers, node._sequence_nr()) - 1]

    @contextmanager
    def inside(self, place: Place) -> Iterator[None]:
        """Attribute what runs outside all modules to `place`."""
        self._enter(place)
        try:
            yield
        finally:
            self._leave(place)

    def __enter__(self) -> Any:
        for module, place in self._places.items():
            self._handles += [
                module.register_forward_pre_hook(
                    self._entering(place), prepend=True, with_kwargs=True
                ),
                # Called after an exception, too: the model may go on from one.
                module.register_forward_hook(self._leaving(place), always_call=True),
            ]
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        outer, self._function = self._function, function_category(func)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._function = outer

    def _entering(self, place: Place) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: Any, named: Any) -> None:
            self._enter(place)
            if place.layer is not None:
                for tensor in tensors_in((inputs, named)):
                    self.read_by.setdefault(storage_reference(tensor), place.layer)

        return enter

    def _leaving(self, place: Place) -> Callable[..., None]:
        return lambda module, inputs, output: self._leave(place)

    def _enter(self, place: Place) -> None:
        self._entered.append(place)
        self._note_stay()

    def _leave(self, place: Place) -> None:
        # Modules entered later and not left because of an exception are left as well.
        while place in self._entered and self._entered.pop() != place:
            pass
        self._note_stay()

    def _note_stay(self) -> None:
        self._numbers.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._stays.append(self.current)


def _places(
    model: nn.Module, layer_names: Sequence[str], head: str | None
) -> dict[nn.Module, Place]:
    special: dict[nn.Module, tuple[Category | None, str | None]] = {}
    if head is not None:
        for module in model.get_submodule(head).modules():
            special[module] = Category.HEAD_AND_LOSS, None
    for layer in layer_names:
        for module in model.get_submodule(layer).modules():
            special[module] = Category.TRAINED_INPUTS, layer
    places = {}
    for name, module in model.named_modules():
        category, own_layer = special.get(module) or (module_category(module), None)
        repeats = bool(getattr(module, "repeats", False))
        places[module] = Place(name or "the model", category, own_layer, repeats)
    return places
