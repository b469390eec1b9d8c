"""An estimate of a run's process memory from shapes, by which too large runs are refused.

Fitted to peaks of seven runs of three networks, from 1.0 to 2.2 GB: the estimate was 4 % below to
21 % above the measured peak (PyTorch 2.15, Linux, lean layers, vanilla training).
"""

from __future__ import annotations

from math import prod

from asi_core.costs.accounting import step_cost
from asi_core.errors import InvalidInput, NoClosedForm
from asi_core.records import ELEMENT_BYTES, LayerShape
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.shapes import tabled_sizes, trained_layer_shapes

# Python with PyTorch after its first step, and images.
_PROCESS_BYTES = 900_000_000
# The weights, their gradients or checkpoint, and the full model before it is cut.
_COPIES_OF_WEIGHTS = 3
# Share of the largest layer's input and output that the frozen part holds at a time.
_FROZEN_SHARE = 0.5
# Factor on the inputs and outputs of trained layers, to include gradients in backward.
_TRAINED_SHARE = 1.5


def run_bytes(spec: RunSpec) -> int:
    """Estimated peak memory (bytes) of a process that executes this run only."""
    size = _nearest_size(spec)
    scale = (spec.image_size / size) ** 2
    every = trained_layer_shapes(spec.model, "all", spec.batch_size, size)
    trained = trained_layer_shapes(spec.model, spec.layers, spec.batch_size, size)
    weights = sum(prod(shape.weight_shape) for shape in every)
    largest = max(prod(shape.input_shape) + prod(shape.output_shape) for shape in every)
    outputs = sum(prod(shape.output_shape) for shape in trained)
    kept = _FROZEN_SHARE * largest + _TRAINED_SHARE * outputs
    elements = _COPIES_OF_WEIGHTS * weights + kept * scale
    inputs = _TRAINED_SHARE * _input_bytes(spec, trained) * scale
    return round(_PROCESS_BYTES + elements * ELEMENT_BYTES + inputs)


def _input_bytes(spec: RunSpec, trained: tuple[LayerShape, ...]) -> int:
    """Bytes that the method keeps of the inputs; the full inputs if that depends on the images, or
    is not known by formula."""
    try:
        return step_cost(trained, spec.method, "exact").activation_bytes
    except (InvalidInput, NoClosedForm):
        return sum(prod(shape.input_shape) for shape in trained) * ELEMENT_BYTES


def _nearest_size(spec: RunSpec) -> int:
    """The nearest image size whose shapes are tabulated, so that none are traced."""
    sizes = tabled_sizes(model_card(spec.model))
    return min(sizes, key=lambda size: abs(size - spec.image_size))
