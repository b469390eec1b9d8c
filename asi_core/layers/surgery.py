"""Swapping the last layers of a model for compressed ones, and back."""

from __future__ import annotations

from typing import Literal

from torch import nn

from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.conv import CompressedConv2d
from asi_core.methods import Method


def compress_(model: nn.Module, method: Method, *, layers: int | Literal["all"]) -> list[str]:
    """Make the last `layers` convolutions of `model` keep their input by `method`, in place.

    Args:
        layers: how many, counted from the end in registration order; 0 for none, or "all".

    Returns:
        The layers' names, in forward order.

    Raises:
        InvalidInput: if the model has fewer convolutions.
        Unsupported: if one of them cannot be compressed; the model is then left unchanged.
    """
    names = trained_layer_names(model, layers)
    convs = [(name, model.get_submodule(name)) for name in names]
    if not method.replaces_layers:
        return names
    for name, conv in convs:
        if type(conv) not in (nn.Conv2d, CompressedConv2d):
            raise Unsupported(
                f"layer {name} is a {type(conv).__name__}, whose own forward would be lost: "
                "only plain nn.Conv2d layers can be compressed."
            )
    for seed, (name, conv) in enumerate(convs):
        assert isinstance(conv, nn.Conv2d)
        plain = conv.to_conv() if isinstance(conv, CompressedConv2d) else conv
        model.set_submodule(name, CompressedConv2d.from_conv(plain, method, seed))
    return names


def restore_(model: nn.Module) -> None:
    """Undo `compress_` in place: plain convolutions again, weights kept."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, CompressedConv2d):
            model.set_submodule(name, layer.to_conv())


def trained_layer_names(model: nn.Module, layers: int | Literal["all"]) -> list[str]:
    """Names of the last `layers` convolutions, in registration order.

    Raises:
        InvalidInput: if the model has fewer.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    count = len(names) if layers == "all" else layers
    if not 0 <= count <= len(names):
        raise InvalidInput(
            f"trained layers must be between 0 and {len(names)}, the convolutions of the model",
            count,
            "choose fewer layers, or 'all'",
        )
    return names[len(names) - count :]
