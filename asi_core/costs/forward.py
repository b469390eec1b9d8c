"""What one forward pass of any network keeps for backward, and where."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asi_core.costs.meters import SavedMeter, SavedStorage, total_bytes
from asi_core.costs.places import Places
from asi_core.layers.shapes import observed_shapes


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """A forward pass with gradients, as autograd saved it. The loss is not part of it.

    Attributes:
        storages: what is saved, each storage once; parameters and buffers are left out.
        shapes: name of a trained layer -> the shape of its input in its first call, if it was
            called.
    """

    storages: Mapping[int, SavedStorage]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def total(self) -> int:
        """Bytes that are kept from the forward pass to the backward pass."""
        return total_bytes(self.storages)

    def layer_bytes(self, name: str) -> int:
        """Bytes that a trained layer keeps. A tensor that several keep counts for the first."""
        order = list(self.shapes)
        return sum(
            storage.nbytes
            for storage in self.storages.values()
            if storage.layers and min(storage.layers, key=order.index) == name
        )

    def others(self, layers: Collection[str]) -> list[tuple[str, int]]:
        """Bytes that are kept outside of the trained layers, by module, largest first."""
        sums: dict[str, int] = {}
        for storage in self.storages.values():
            if not storage.layers.intersection(layers):
                sums[storage.place.name] = sums.get(storage.place.name, 0) + storage.nbytes
        return sorted(sums.items(), key=lambda item: -item[1])

    def input_shape(self, name: str) -> tuple[int, ...] | None:
        return self.shapes.get(name)


def run_forward(model: nn.Module, example: Any, layers: Sequence[str]) -> ForwardPass:
    """Run one forward pass with gradients, and note what it saves.

    Args:
        example: a batch, as `call_model` takes it.
        layers: names of the trained layers.

    Raises:
        Unsupported: if the model works on tensors without storages.
    """
    places = Places(model, layers, None)
    saved = SavedMeter(model, places)
    with torch.enable_grad(), observed_shapes(model, layers) as shapes, saved, places:
        # The output holds what is saved until all of it has been counted.
        _output = call_model(model, example)
    found = {name: calls[0].input_shape for name in layers if (calls := shapes.of(name))}
    return ForwardPass(saved.storages, {name: found.get(name, ()) for name in layers})


def call_model(model: nn.Module, example: Any) -> Any:
    """The output for a batch: a tensor, a tuple of positional or a mapping of keyword arguments."""
    if isinstance(example, Mapping):
        return model(**example)
    if isinstance(example, (tuple, list)):
        return model(*example)
    return model(example)
