"""Shapes of trained layers from a trace on the meta device: no weights, no arithmetic."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from asi_core.errors import InvalidInput, one_sentence
from asi_core.layers.patterns import chosen_layers
from asi_core.layers.shapes import observed_shapes
from asi_core.methods.blocks import related
from asi_core.records import LayerShape
from asi_core.zoo.build import build_architecture
from asi_core.zoo.cards import model_card
from asi_core.zoo.making import layer_rows, on_meta


def traced_layer_shapes(
    name: str, layers: int | str, batch_size: int, image_size: int
) -> tuple[LayerShape, ...]:
    """Shapes of the layers of a zoo model that `layers` means (`chosen_layers`), in registration
    order.

    Raises:
        InvalidInput: if there is no such model, it has fewer layers, or it cannot read such images.
    """
    card = model_card(name)
    model = on_meta(partial(build_architecture, card)).eval().requires_grad_(False)
    images = torch.empty(batch_size, 3, image_size, image_size, device="meta")
    names = chosen_layers(card.trainable_names(model.named_modules()), layers)
    for trained in names:
        model.get_submodule(trained).requires_grad_(True)
    with observed_shapes(model, names) as shapes:
        try:
            model(images)
        except (RuntimeError, ValueError, AssertionError) as error:
            # Images smaller than a network's kernels, or of another size than its positions.
            raise InvalidInput(
                f"image size must be one that {card.title} accepts",
                f"{image_size} ({one_sentence(error)[:120].rstrip('.')})",
                f"choose {card.native_size}",
            ) from error
    return related(shapes.all(names))


def traced_rows(name: str) -> list[dict[str, Any]]:
    """Rows about the trainable layers of a model that the table of shapes does not have.

    Raises:
        InvalidInput: if there is no such model.
    """
    card = model_card(name)
    model = on_meta(partial(build_architecture, card)).eval().requires_grad_(False)
    names = card.trainable_names(model.named_modules())
    return layer_rows(model, names, [card.native_size])
