"""Closed-form cost of a zoo model under a method, from shapes alone."""

from __future__ import annotations

from typing import Literal

from asi_core import zoo
from asi_core.costs.accounting import StepCost, step_cost
from asi_core.methods import Method
from asi_core.records import Convention


def estimate(
    model: str,
    method: Method,
    *,
    layers: int | Literal["all"],
    batch_size: int,
    image_size: int,
    convention: Convention,
) -> StepCost:
    """Bytes and multiplies of one training step of a zoo model's last `layers` convolutions.

    Raises:
        InvalidInput: if there is no such model or layer, or if the ranks depend on data.
    """
    found = zoo.shapes.trained_layer_shapes(model, layers, batch_size, image_size)
    return step_cost(found, method, convention)
