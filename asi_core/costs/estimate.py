"""Closed-form cost of a model by its name under a method, from shapes alone."""

from __future__ import annotations

from typing import Literal

from asi_core import zoo
from asi_core.costs.accounting import StepCost, step_cost
from asi_core.errors import InvalidInput
from asi_core.methods import Method
from asi_core.records import Convention
from asi_core.zoo.cards import ModelCard, model_card

_SIZES = {"images": "image size", "tokens": "tokens"}


def estimate(
    model: str,
    method: Method,
    *,
    layers: int | Literal["all"],
    batch_size: int,
    image_size: int | None = None,
    tokens: int | None = None,
    convention: Convention,
) -> StepCost:
    """Bytes and multiplies of one training step of a model's last `layers` layers.

    Args:
        image_size: of a network that reads images, pixels.
        tokens: of a language model: of each text of the batch.

    Raises:
        InvalidInput: if there is no such model or layer, if the ranks depend on data, or if a size
            is missing or meaningless.
    """
    size = _size(model_card(model), {"images": image_size, "tokens": tokens})
    found = zoo.shapes.trained_layer_shapes(model, layers, batch_size, size)
    return step_cost(found, method, convention)


def _size(card: ModelCard, given: dict[str, int | None]) -> int:
    size = given.pop(card.reads)
    ((other, unused),) = given.items()
    if unused is not None:
        raise InvalidInput(
            f"{_SIZES[other]} must not be given for {card.title}, which reads {card.reads}",
            unused,
            f"give {_SIZES[card.reads]} instead",
        )
    if size is None:
        raise InvalidInput(
            f"{_SIZES[card.reads]} must be given for {card.title}, which reads {card.reads}",
            "none",
            "give a number",
        )
    return size
