"""What trained layers meet in one training step: their inputs and output gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import effective_input


@dataclass
class Watched:
    """One layer in one step.

    Attributes:
        x: its input.
        grad_output: gradient of its output, after backward; of what it would give without a
            normalisation folded into it.
        earlier_factors: mode -> factor with which the step began, of a warm-started method.
    """

    x: Tensor | None = None
    grad_output: Tensor | None = None
    earlier_factors: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def watched(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Watched]]:
    """While open, notes what the layers `names` meet; the tensors are held, not copied."""
    notes: dict[str, Watched] = {}

    def hook_for(note: Watched) -> Any:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            note.x = effective_input(layer, inputs[0].detach())
            fold = layer.fold if isinstance(layer, CompressedLayer) else None
            factor = None if fold is None else fold.factor_of(output)

            def keep(gradient: Tensor) -> None:
                note.grad_output = gradient if factor is None else gradient * factor[:, None, None]

            if output.requires_grad:
                output.register_hook(keep)

        return record

    handles = []
    for name in names:
        layer = model.get_submodule(name)
        notes[name] = Watched()
        if isinstance(layer, CompressedLayer):
            notes[name].earlier_factors = dict(layer.memory.factors)
        handles.append(layer.register_forward_hook(hook_for(notes[name])))
    try:
        yield notes
    finally:
        for handle in handles:
            handle.remove()
