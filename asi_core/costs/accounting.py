"""Closed-form bytes and multiplies of a method over the trained layers: shapes in, integers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asi_core.errors import Unsupported
from asi_core.methods import Method
from asi_core.records import Convention, LayerShape, Macs, Ranks


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer's share of a step."""

    shape: LayerShape
    ranks: Ranks | None
    activation_bytes: int
    macs: Macs


@dataclass(frozen=True, slots=True)
class StepCost:
    """A training step: the trained layers' activations and multiplies."""

    convention: Convention
    layers: tuple[LayerCost, ...]

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def macs(self) -> Macs:
        return sum((layer.macs for layer in self.layers), Macs())


def step_cost(
    shapes: Sequence[LayerShape],
    method: Method,
    convention: Convention,
    ranks: Mapping[str, Ranks | None] | None = None,
) -> StepCost:
    """Bytes kept for backward and multiplies of one step.

    Args:
        shapes: of the trained layers, in forward order.
        ranks: the ranks in force, by layer name, where they come from data.

    Raises:
        InvalidInput: if the ranks depend on data and are not given.
        Unsupported: if the method means nothing for one of the layers.
    """
    layers = []
    for shape in shapes:
        reason = method.why_unsupported(shape.geometry)
        if reason is not None:
            raise Unsupported(f"layer {shape.name}: {reason}.")
        own = ranks[shape.name] if ranks is not None else method.ranks_for(shape)
        kept = method.saved_bytes(shape, own, convention)
        layers.append(LayerCost(shape, own, kept, method.macs(shape, own, convention)))
    return StepCost(convention, tuple(layers))


def with_batch(shape: LayerShape, batch_size: int) -> LayerShape:
    """The same layer at another batch size."""
    return replace(
        shape,
        input_shape=(batch_size, *shape.input_shape[1:]),
        output_shape=(batch_size, *shape.output_shape[1:]),
    )
