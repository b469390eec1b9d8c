"""Building models: the architecture, its weights, and a head for new classes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from importlib import import_module
from math import sqrt

import torch
from torch import Tensor, nn

from asi_core.errors import Unavailable
from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.libraries import build_outside, key_adapter, load_outside
from asi_core.zoo.outside import is_outside
from asi_core.zoo.weights import Progress, fetched_weights, silent

log = logging.getLogger(__name__)

_SEEDING = threading.Lock()


def build_model(
    name: str, classes: int, seed: int, *, pretrained: bool = True, progress: Progress = silent
) -> nn.Module:
    """A model with a new head, in evaluation mode.

    Args:
        classes: number of outputs of the new head.
        seed: for the head's random start, and for all parameters if not `pretrained`.
        progress: called with the progress of a download.

    Raises:
        InvalidInput: if the zoo has no such model.
        Unavailable: if its weights are unavailable or do not fit.
    """
    card = model_card(name)
    model = _pretrained(card, progress) if pretrained else _random(card, seed)
    for place, head in enumerate(card.heads):
        replace_head_(model, head, classes, seed + place)
    return model.eval()


def build_architecture(card: ModelCard) -> nn.Module:
    """The model as published, with untrained parameters."""
    if is_outside(card.name):
        return build_outside(card.name)
    module, _, name = card.factory.partition(":")
    model: nn.Module = getattr(import_module(module), name)()
    return model


def replace_head_(model: nn.Module, head: str, classes: int, seed: int) -> None:
    """Replace the classifier called `head` by a new, untrained `nn.Linear`."""
    old = model.get_submodule(head)
    generator = torch.Generator().manual_seed(seed)
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        features = old.in_channels
        new = nn.Conv2d(features, classes, 1, device="meta")
    else:
        assert isinstance(old, nn.Linear)
        features = old.in_features
        new = nn.Linear(features, classes, device="meta")
    bound = 1 / sqrt(features)
    # Not `to_empty`, for which PyTorch imports a part of its compiler.
    for name, parameter in list(new.named_parameters()):
        drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
        setattr(new, name, nn.Parameter(drawn.to(old.weight.device)))
    model.set_submodule(head, new)


def _pretrained(card: ModelCard, progress: Progress) -> nn.Module:
    """Built without random initialisation, which the checkpoint would replace."""
    if card.weights.library:
        return load_outside(card.name)
    path = fetched_weights(card, progress)
    # What a network beyond the zoo makes besides parameters would stay on the meta device.
    with nullcontext() if is_outside(card.name) else torch.device("meta"):
        model = build_architecture(card)
    adapt = getattr(model, "adapt_keys", key_adapter(card.name))
    read = read_checkpoint(path)
    try:
        adapted = adapt(read)
        state = _in_types_of(model, adapted)
        model.load_state_dict({**_counters(model), **state}, assign=True)
    except (RuntimeError, LookupError, ValueError) as error:
        raise Unavailable(
            f"the weights in {path} are not those of {card.title}: remove the file, or set "
            "ASI_WEIGHTS_DIR to another folder."
        ) from error
    log.info("weights of %s from %s%s", card.title, path.name, _converted(adapted, state))
    return model


def _converted(read: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The converted precisions in words; empty if there are none."""
    changed = {
        f"{_short(read[name])} to {_short(value)}"
        for name, value in state.items()
        if read[name].dtype != value.dtype
    }
    return f", converted from {' and from '.join(sorted(changed))}" if changed else ""


def _short(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _in_types_of(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors in the precision of the architecture, the others unchanged.

    Raises:
        ValueError: if only one of the two is a floating-point tensor.
    """
    own = model.state_dict()
    for name, value in state.items():
        if name in own and own[name].is_floating_point() != value.is_floating_point():
            raise ValueError(f"{name} is {value.dtype}")
    # `to` does not copy if the type is the same.
    return {name: v.to(own[name].dtype) if name in own else v for name, v in state.items()}


def _counters(model: nn.Module) -> dict[str, Tensor]:
    """Batch counters of normalisations, missing in older checkpoints: nothing reads them."""
    names = [name for name, _ in model.named_buffers() if name.endswith("num_batches_tracked")]
    return {name: torch.zeros((), dtype=torch.long) for name in names}


def _random(card: ModelCard, seed: int) -> nn.Module:
    # The architectures draw from the global generator, which all threads share.
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_architecture(card)
