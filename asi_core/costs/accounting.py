"""Closed-form bytes and multiplies of a method over the trained layers: shapes in, integers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from asi_core.errors import NoClosedForm, Unsupported
from asi_core.methods import Method
from asi_core.methods.base import TrainedNumbers
from asi_core.records import ELEMENT_BYTES, Convention, LayerShape, Macs, Ranks


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer's share of a step.

    Attributes:
        activation_bytes: kept for backward. If an earlier layer keeps the same input, `exact` does
            not count it, and `paper` counts it again.
        kept_by: the name of that earlier layer, else None.
        numbers: how many of the layer's numbers are trained and frozen.
    """

    shape: LayerShape
    ranks: Ranks | None
    activation_bytes: int
    macs: Macs
    numbers: TrainedNumbers
    kept_by: str | None = None


@dataclass(frozen=True, slots=True)
class StepCost:
    """A training step: the trained layers' activations and multiplies."""

    convention: Convention
    layers: tuple[LayerCost, ...]

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def repeated_bytes(self) -> int:
        """The part of `activation_bytes` that counts an input repeatedly."""
        return sum(layer.activation_bytes for layer in self.layers if layer.kept_by is not None)

    @property
    def macs(self) -> Macs:
        return sum((layer.macs for layer in self.layers), Macs())

    @property
    def numbers(self) -> TrainedNumbers:
        """Of all layers; one that is called repeatedly has its numbers once."""
        each = {layer.shape.name: layer.numbers for layer in self.layers}.values()
        return TrainedNumbers(sum(n.trained for n in each), sum(n.frozen for n in each))


def step_cost(
    shapes: Sequence[LayerShape],
    method: Method | Mapping[str, Method],
    convention: Convention,
    ranks: Mapping[str, Ranks | None] | None = None,
) -> StepCost:
    """Bytes kept for backward and multiplies of one step.

    `exact` counts a tensor that several layers keep once; `paper` counts it for each layer.

    Args:
        shapes: of the trained layers, in forward order; one per call for layers called repeatedly.
        method: of all layers, or of each by its name.
        ranks: the ranks in use, by layer name, if they come from data.

    Raises:
        InvalidInput: if the ranks depend on data and are not given.
        NoClosedForm: if the method's costs are not known by formula.
        Unsupported: if the method does not support one of the layers.
    """
    methods = method if isinstance(method, Mapping) else {shape.name: method for shape in shapes}
    # Checked before ranks, which would not help.
    for method in methods.values():
        if shapes and not method.has_closed_form:
            raise NoClosedForm(method.label)
    layers = []
    keepers: dict[str, str] = {}
    for shape in shapes:
        method = methods[shape.name]
        reason = method.why_unsupported_layer(shape.geometry, shape.weight_shape)
        if reason is not None:
            raise Unsupported(f"layer {shape.name}: {reason}.")
        if ranks is None:
            own = method.ranks_for(shape)
        else:
            own = method.adjusted_ranks(shape, ranks[shape.name])
        kept, kept_by = method.saved_bytes(shape, own, convention), None
        if shape.input_id is not None and method.keeps_input(shape, own):
            kept_by = keepers.get(shape.input_id)
            keepers.setdefault(shape.input_id, shape.name)
        if convention == "exact" and kept_by is not None:
            kept -= input_bytes(shape)
        macs = method.macs(shape, own, convention)
        numbers = method.trained_numbers(shape, own)
        layers.append(LayerCost(shape, own, kept, macs, numbers, kept_by))
    return StepCost(convention, tuple(layers))


def known_step_cost(
    shapes: Sequence[LayerShape],
    method: Method | Mapping[str, Method],
    convention: Convention,
    ranks: Mapping[str, Ranks | None] | None = None,
) -> StepCost | None:
    """`step_cost`, or None if a method without closed form keeps layers."""
    try:
        return step_cost(shapes, method, convention, ranks)
    except NoClosedForm:
        return None


def input_bytes(shape: LayerShape) -> int:
    """Bytes of a layer's input, in single precision."""
    return ELEMENT_BYTES * prod(shape.input_shape)


def with_batch(shape: LayerShape, batch_size: int) -> LayerShape:
    """The same layer at another batch size."""
    return replace(
        shape,
        input_shape=(batch_size, *shape.input_shape[1:]),
        output_shape=(batch_size, *shape.output_shape[1:]),
    )
