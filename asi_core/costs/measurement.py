"""The bytes that PyTorch really keeps for backward, and the time that layers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from asi_core.costs.clocks import LayerClocks
from asi_core.costs.meters import (
    LivingMeter,
    SavedMeter,
    SavedStorage,
    agreed_storages,
    total_bytes,
)
from asi_core.costs.places import Place, Places
from asi_core.costs.timeline.records import Category
from asi_core.errors import InvalidInput, Unsupported
from asi_core.methods.base import Method
from asi_core.records import Ranks


class SavedBytes:
    """Counts the unique storages that are saved for backward while it is open.

    Parameters and buffers of `model` are excluded: they exist anyway.
    """

    def __init__(self, model: nn.Module) -> None:
        self._excluded = {t.untyped_storage().data_ptr() for t in model.parameters()}
        self._excluded |= {t.untyped_storage().data_ptr() for t in model.buffers()}
        self._storages: dict[int, tuple[torch.dtype, int]] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    @property
    def total(self) -> int:
        """Bytes of all storages seen so far."""
        return sum(nbytes for _, nbytes in self.kept)

    @property
    def kept(self) -> list[tuple[torch.dtype, int]]:
        """Types and bytes of all storages seen so far, in the order in which they were saved."""
        return list(self._storages.values())

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._excluded:
            self._storages[storage.data_ptr()] = (tensor.dtype, storage.nbytes())
        # A result saved by its own node would keep itself alive if backward never ran.
        return tensor.detach()

    def _unpack(self, tensor: Tensor) -> Tensor:
        return tensor


@dataclass(frozen=True, slots=True)
class LayerMeasurement:
    """One trained layer's share of a measured step.

    Attributes:
        saved_bytes: of the storages that this layer saves and no layer before it in the list: an
            input that two layers read counts for the first.
        forward_seconds, backward_seconds: as in `LayerClocks`.
        ranks: the ranks in use in the counted step; None for a layer without.
    """

    name: str
    saved_bytes: int
    forward_seconds: float
    backward_seconds: float
    ranks: Ranks | None


@dataclass(frozen=True, slots=True)
class StepMeasurement:
    """A training step, measured.

    Attributes:
        saved_bytes: of the unique storages kept for backward, without parameters and buffers.
        category_bytes: the same bytes by `Category`, with all categories; they add up.
        peak_bytes: peak of the allocator above its level before the batch; None without an
            allocator.
    """

    saved_bytes: int
    category_bytes: Mapping[str, int]
    layers: tuple[LayerMeasurement, ...]
    peak_bytes: int | None


def measure_step(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[[Tensor], Tensor],
    layer_names: Sequence[str],
    head: str | None,
) -> StepMeasurement:
    """Count what the forward pass of a training step keeps for backward, and time a step.

    A first step warms up warm starts and kernels. Then a forward pass under the meters counts the
    bytes, and whole steps without meters give the peak and, once warm starts have settled, seconds.
    Warm starts advance; weights and gradients of the model are unchanged.

    Args:
        make_inputs: creates the batch, again for each of them. Do not hold a reference to it:
            what stays alive after the forward pass counts as kept, and so does a batch whose own
            gradient is needed.
        loss_of: logits to a scalar loss.
        layer_names: of the trained layers.
        head: name of the classifier.

    Raises:
        MetersDisagree: if something is kept without autograd.
        InvalidInput: if the loss depends on no trained parameter.
        Unsupported: if the model is compiled, or works on tensors without storages.
    """
    refuse_compiled(model)
    _whole_step(model, make_inputs, loss_of, nullcontext())
    storages = _kept_storages(model, make_inputs, loss_of, layer_names, head)
    ranks = {name: getattr(model.get_submodule(name), "ranks", None) for name in layer_names}
    peaks = []
    # The first step and the count were two passes. Steps in which warm starts settle need most.
    for _ in range(2, _warm_up_steps(model, layer_names)):
        peaks.append(_whole_step(model, make_inputs, loss_of, nullcontext()))
    clocks = LayerClocks(model, layer_names)
    peaks.append(_whole_step(model, make_inputs, loss_of, clocks))
    peak = max((found for found in peaks if found is not None), default=None)
    saved = _by_layer(storages, layer_names)
    layers = tuple(
        LayerMeasurement(
            name,
            saved[name],
            clocks.forward_seconds[name],
            clocks.backward_seconds[name],
            ranks[name],
        )
        for name in layer_names
    )
    return StepMeasurement(total_bytes(storages), _by_category(storages), layers, peak)


def _warm_up_steps(model: nn.Module, layer_names: Sequence[str]) -> int:
    layers = map(model.get_submodule, layer_names)
    methods = (getattr(layer, "method", None) for layer in layers)
    return max((m.warm_up_steps for m in methods if isinstance(m, Method)), default=1)


def kept_bytes(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[[Tensor], Tensor],
    layer_names: Sequence[str],
    head: str | None,
) -> int:
    """Count only what a training step keeps for backward, in one forward pass.

    Args and errors are those of `measure_step`.
    """
    refuse_compiled(model)
    return total_bytes(_kept_storages(model, make_inputs, loss_of, layer_names, head))


def _kept_storages(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[[Tensor], Tensor],
    layer_names: Sequence[str],
    head: str | None,
) -> Mapping[int, SavedStorage]:
    places = Places(model, layer_names, head)
    saved, living = SavedMeter(model, places), LivingMeter(places)

    def forward() -> Any:
        """Return the graph only: batch, logits and loss are freed with this function's scope."""
        inputs = make_inputs()
        living.watch(inputs)
        with saved, living, places:
            logits = model(*inputs)
            with places.inside(Place("the loss", Category.HEAD_AND_LOSS)):
                return loss_of(logits).grad_fn

    # Holds what autograd keeps until it is counted.
    _graph = forward()
    return agreed_storages(model, saved, living)


def _whole_step(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[[Tensor], Tensor],
    clocks: AbstractContextManager[object],
) -> int | None:
    """An undisturbed step; returns the allocator's peak above its level before, in bytes.

    Args:
        clocks: open during the forward pass.
    """
    device = next(model.parameters()).device
    gradients = [(p, p.grad) for p in model.parameters()]
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    inputs = make_inputs()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with clocks:
            loss = loss_of(model(*inputs))
        _check_trained(loss)
        # As in the count: only what backward needs of the batch stays.
        del inputs
        model.zero_grad()
        loss.backward()
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
    return torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None


def _by_layer(storages: Mapping[int, SavedStorage], layer_names: Sequence[str]) -> dict[str, int]:
    sums = dict.fromkeys(layer_names, 0)
    for storage in storages.values():
        first = next((name for name in layer_names if name in storage.layers), None)
        if first is not None:
            sums[first] += storage.nbytes
    return sums


def _by_category(storages: Mapping[int, SavedStorage]) -> dict[str, int]:
    sums = dict.fromkeys(map(str, Category), 0)
    for storage in storages.values():
        sums[storage.category] += storage.nbytes
    return sums


def _check_trained(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise InvalidInput(
            "the loss must depend on a trained parameter", "none", "let one require a gradient"
        )


def refuse_compiled(model: nn.Module) -> None:
    """Raise if what a model keeps cannot be measured.

    Raises:
        Unsupported: if it is compiled.
    """
    for name, module in model.named_modules():
        compiled = hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            raise Unsupported(
                f"{name or 'the model'} is compiled, and what compiled code keeps for backward "
                "cannot be measured: measure the plain module."
            )
