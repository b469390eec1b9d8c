"""What shows only when a compressed model runs its first training step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from asi_core.errors import Unsupported
from asi_core.layers.compressed import CompressedLayer

log = logging.getLogger(__name__)


class _FirstPass:
    """A forward hook of the whole model that looks at its first training step and then goes.

    An object and not a function, so that a model that has it can be copied and pickled.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def __call__(self, model: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        _remove_(model, self)
        _warn_of_the_rest(model, self._names)
        for name, layer in model.named_modules():
            is_idle = isinstance(layer, CompressedLayer) and not layer.was_called
            if is_idle and name in self._names and layer.weight.requires_grad:
                layer.weight.register_hook(_refusing(name, layer))


def watch_first_pass_(model: nn.Module, names: Iterable[str]) -> None:
    """Have the first training step of `model` report which of the layers `names` it never calls,
    and how much besides them is trained as it was."""
    model.register_forward_hook(_FirstPass(forget_first_pass_(model) | set(names)))


def forget_first_pass_(model: nn.Module) -> set[str]:
    """Undo `watch_first_pass_` in place; returns the names that were watched."""
    names: set[str] = set()
    for hook in list(model._forward_hooks.values()):
        if isinstance(hook, _FirstPass):
            names |= hook._names
            _remove_(model, hook)
    return names


def _remove_(model: nn.Module, hook: _FirstPass) -> None:
    for key, value in list(model._forward_hooks.items()):
        if value is hook:
            del model._forward_hooks[key]


def _warn_of_the_rest(model: nn.Module, names: set[str]) -> None:
    """A network whose other layers train as well keeps what it kept before."""
    # Convolutions, linear layers and the like: a normalisation's weight has one mode.
    others = [
        name
        for name, layer in model.named_modules()
        if name not in names
        and isinstance(weight := getattr(layer, "weight", None), nn.Parameter)
        and weight.requires_grad
        and weight.dim() > 1
    ]
    if len(others) > max(len(names), 2):
        log.warning(
            "%d layers are compressed, and %d others are trained and keep their inputs whole: "
            "freeze them with requires_grad_(False), or call asi_core.prepare_ instead",
            len(names),
            len(others),
        )


def _refusing(name: str, layer: CompressedLayer) -> Callable[[Tensor], None]:
    """A hook for the gradient of a weight, which has none unless it was read."""

    def refuse(gradient: Tensor) -> None:
        # A layer in a checkpoint is called late.
        if not layer.was_called:
            raise Unsupported(
                f"layer {name} is never called: the model reads its weight itself, so nothing that "
                "it keeps is compressed; leave the layer out of layers."
            )

    return refuse
