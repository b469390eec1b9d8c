"""Swapping the last layers of a model for compressed ones, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.linear import CompressedLinear
from asi_core.methods import Method

Layers = int | Literal["all"] | Sequence[str]

_REPLACEMENTS: dict[type[nn.Module], type[CompressedLayer]] = {
    kind.plain: kind for kind in (CompressedConv2d, CompressedLinear)
}


def compress_(model: nn.Module, method: Method, *, layers: Layers) -> list[str]:
    """Make layers of `model` keep their input by `method`, in place.

    Args:
        layers: how many convolutions, counted from the end in registration order; 0 for none, or
            "all"; or the names of the layers, which may be convolutions and linear layers.

    Returns:
        The layers' names, in registration order.

    Raises:
        InvalidInput: if the model has fewer convolutions, or no layer of a name.
        Unsupported: if one of them cannot be compressed; the model is then left unchanged.
    """
    names = trained_layer_names(model, layers)
    if not method.replaces_layers:
        return names
    replaced = [
        _compressed(name, model.get_submodule(name), method, seed)
        for seed, name in enumerate(names)
    ]
    for name, layer in zip(names, replaced, strict=True):
        model.set_submodule(name, layer)
    return names


def restore_(model: nn.Module) -> None:
    """Undo `compress_` in place: plain layers again, weights kept."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, CompressedLayer):
            model.set_submodule(name, layer.to_plain())


def trained_layer_names(model: nn.Module, layers: Layers) -> list[str]:
    """Names of the last `layers` convolutions, or the given names, in registration order.

    Raises:
        InvalidInput: if the model has fewer, or no layer of a name.
    """
    if isinstance(layers, (int, str)):
        return last_layers(conv_names(model), layers)
    known = [name for name, _ in model.named_modules()]
    for name in layers:
        if name not in known:
            raise InvalidInput(
                "trained layers must be layers of the model", repr(name), "see named_modules()"
            )
    return [name for name in known if name in set(layers)]


def conv_names(model: nn.Module) -> list[str]:
    """Names of all convolutions, in registration order."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def last_layers(names: Sequence[str], layers: int | str) -> list[str]:
    """The last `layers` of `names`; all of them for "all".

    Raises:
        InvalidInput: if there are fewer.
    """
    count = len(names) if layers == "all" else layers
    if not (isinstance(count, int) and 0 <= count <= len(names)):
        raise InvalidInput(
            f"trained layers must be between 0 and {len(names)}, the trainable layers of the model",
            layers,
            "choose fewer layers, or 'all'",
        )
    return list(names[len(names) - count :])


def _compressed(name: str, layer: nn.Module, method: Method, seed: int) -> CompressedLayer:
    plain = layer.to_plain() if isinstance(layer, CompressedLayer) else layer
    if type(plain) not in _REPLACEMENTS:
        raise Unsupported(
            f"layer {name} is a {type(layer).__name__}, whose own forward would be lost: "
            "only plain nn.Conv2d and nn.Linear layers can be compressed."
        )
    dtype = getattr(plain.weight, "dtype", None)
    if dtype is None or not dtype.is_floating_point:
        raise Unsupported(
            f"layer {name} has {dtype} weights: only real floating-point ones can be compressed."
        )
    compressed = _REPLACEMENTS[type(plain)].from_plain(plain, method, seed)
    reason = method.why_unsupported(compressed.geometry)
    if reason is not None:
        raise Unsupported(f"layer {name} is a {type(plain).__name__}: {reason}.")
    return compressed
