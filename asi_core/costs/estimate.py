"""Closed-form cost of a model by its name under a method, from shapes alone."""

from __future__ import annotations

from asi_core import zoo
from asi_core.costs.accounting import StepCost, step_cost
from asi_core.methods import Method
from asi_core.records import Convention


def estimate(
    model: str,
    method: Method,
    *,
    layers: int | str,
    batch_size: int,
    image_size: int | None = None,
    tokens: int | None = None,
    convention: Convention,
) -> StepCost:
    """Bytes and multiplies of one training step of a model's trained layers.

    Args:
        layers: how many of the last, "all", or names and patterns (`patterns.chosen_layers`).
        image_size: of a network that reads images, pixels.
        tokens: of a language model: of each text of the batch.

    Raises:
        InvalidInput: if there is no such model or layer, if the ranks depend on data, or if a size
            is missing or meaningless.
    """
    found = zoo.shapes.trained_layer_shapes(model, layers, batch_size, image_size, tokens=tokens)
    return step_cost(found, method, convention)
