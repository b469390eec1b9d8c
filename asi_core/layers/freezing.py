"""What is trained of a network, and what stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from torch import nn

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def train_only_(
    model: nn.Module, layers: Sequence[str], others: Iterable[str] = (), *, train_norm: bool = False
) -> None:
    """Let parameters of these layers and modules require gradients, and no other, in place.

    Args:
        layers: names of the trained layers, in registration order.
        others: names of modules that are trained as they are, such as the classifier.
        train_norm: whether the scale and shift of all normalisations registered after the first
            trained layer are trained as well.
    """
    model.requires_grad_(False)
    for name in [*layers, *others]:
        model.get_submodule(name).requires_grad_(True)
    if not (train_norm and layers):
        return
    names = [name for name, _ in model.named_modules()]
    for name in names[names.index(layers[0]) :]:
        module = model.get_submodule(name)
        if isinstance(module, _NORMS):
            module.requires_grad_(True)


def hold_statistics_(model: nn.Module) -> None:
    """Have the batch normalisations of `model` use the statistics that they have now, in place,
    also while the model is in training mode.

    Those without running statistics always use the batch's.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None
    ]
    release_statistics_(model)
    if names:
        hold = _HeldStatistics(names)
        hold(model, ())
        model.register_forward_pre_hook(hold)


def release_statistics_(model: nn.Module) -> None:
    """Undo `hold_statistics_` in place: the next `model.train()` reaches all normalisations."""
    for key, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, _HeldStatistics):
            del model._forward_pre_hooks[key]


class _HeldStatistics:
    """A hook before each forward pass, which undoes what `model.train()` did to normalisations.

    An object and not a function, so that a model that has it can be copied and pickled.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = set(names)

    def __call__(self, model: nn.Module, inputs: Any) -> None:
        for name, module in model.named_modules():
            if name in self._names and module.training:
                module.eval()
