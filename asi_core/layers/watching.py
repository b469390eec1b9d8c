"""Recording the inputs and gradients of trained layers in one training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import effective_input, input_of


@dataclass
class Watched:
    """One layer in one step.

    Attributes:
        x: its input, in the last call.
        grad_output: gradient of its product's output, after that call's backward.
        weight_gradient: of its weight, from the last backward pass alone.
        earlier_factors: mode -> factor at the start of the step, for a warm-started method.
    """

    x: Tensor | None = None
    grad_output: Tensor | None = None
    weight_gradient: Tensor | None = None
    earlier_factors: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def watched(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Watched]]:
    """While open, record tensors of the layers `names`; they are held, not copied."""
    notes: dict[str, Watched] = {}

    with ExitStack() as stack:
        for name in names:
            layer = model.get_submodule(name)
            notes[name] = Watched()
            stack.enter_context(_watched(layer, notes[name]))
        yield notes


@contextmanager
def _watched(layer: Any, note: Watched) -> Iterator[None]:
    def keep_gradient(output: Tensor, factor: Tensor | None) -> None:
        def keep(gradient: Tensor) -> None:
            note.grad_output = gradient if factor is None else gradient * factor[:, None, None]

        if output.requires_grad:
            output.register_hook(keep)

    def record(layer: nn.Module, inputs: Any, named: Any, output: Tensor) -> None:
        note.x = effective_input(layer, input_of(inputs, named).detach())
        if not isinstance(layer, CompressedLayer):
            keep_gradient(output, None)

    def keep_weight_gradient(gradient: Tensor) -> None:
        note.weight_gradient = gradient

    handles = [layer.register_forward_hook(record, with_kwargs=True)]
    if layer.weight.requires_grad:
        handles.append(layer.weight.register_hook(keep_weight_gradient))
    if isinstance(layer, CompressedLayer):
        note.earlier_factors = dict(layer.memory.factors)
        layer.watcher = keep_gradient
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if isinstance(layer, CompressedLayer):
            layer.watcher = None
