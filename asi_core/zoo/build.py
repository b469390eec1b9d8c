"""Building models: the architecture, its pretrained weights, and a head for new classes."""

from __future__ import annotations

from importlib import import_module
from math import sqrt

import torch
from torch import nn

from asi_core.errors import Unavailable
from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.weights import verified_weights


def build_pretrained(name: str, classes: int, seed: int) -> nn.Module:
    """A pretrained model with a new head, in evaluation mode.

    Args:
        classes: number of outputs of the new head.
        seed: of the head's random start.

    Raises:
        InvalidInput: if the zoo has no such model.
        Unavailable: if its weights cannot be had or do not fit.
    """
    card = model_card(name)
    model = build_architecture(card)
    state = read_checkpoint(verified_weights(card))
    adapt = getattr(model, "adapt_keys", None)
    try:
        model.load_state_dict(adapt(state) if adapt is not None else state)
    except RuntimeError as error:
        raise Unavailable(
            f"the weights found for {card.title} are those of another model: remove {card.weights}."
        ) from error
    replace_head_(model, card.head, classes, seed)
    return model.eval()


def build_architecture(card: ModelCard) -> nn.Module:
    """The model as published, with untrained parameters."""
    module, _, name = card.factory.partition(":")
    model: nn.Module = getattr(import_module(module), name)()
    return model


def replace_head_(model: nn.Module, head: str, classes: int, seed: int) -> None:
    """Put a new, untrained `nn.Linear` in the place of the classifier called `head`."""
    old = model.get_submodule(head)
    assert isinstance(old, nn.Linear)
    bound = 1 / sqrt(old.in_features)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        new = nn.Linear(old.in_features, classes, device="meta").to_empty(device=old.weight.device)
        for parameter in new.parameters():
            drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            parameter.copy_(drawn)
    model.set_submodule(head, new)
