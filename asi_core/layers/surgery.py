"""Replacing the last layers of a model by compressed ones, and back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from torch import nn

from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.lean import lean_layers_, unlean_
from asi_core.layers.lean.conv_norm import FusedBatchNorm2d
from asi_core.layers.linear import CompressedLinear
from asi_core.methods import Method

log = logging.getLogger(__name__)

Layers = int | Literal["all"] | Sequence[str]

_REPLACEMENTS: dict[type[nn.Module], type[CompressedLayer]] = {
    kind.plain: kind for kind in (CompressedConv2d, CompressedLinear)
}


def compress_(model: nn.Module, method: Method, *, layers: Layers, lean: bool = True) -> list[str]:
    """Replace layers of `model` by layers that keep their input by `method`, in place.

    Layers that an earlier call compressed are restored first. A layer that is registered under
    several names, or called several times, becomes one compressed layer under all its names.

    Args:
        layers: number of convolutions, counted from the end in registration order, 0 for none, or
            "all"; or the names of the layers, which may be convolutions and linear layers.
        lean: whether activations, normalisations and poolings become lean as well: they give the
            same numbers, and keep for backward only what their gradients need. Call `lean_` on a
            traced model instead to include functions, and to see what cannot be replaced. False
            leaves lean layers as they are.

    Returns:
        The layers' names, in registration order. For a layer with several names, the given one or
        the first.

    Raises:
        InvalidInput: if the model has fewer convolutions, or no layer of such a name, or is a layer
            itself; or if the method repeats blocks.
        Unsupported: if one of them cannot be compressed; the model is then left unchanged.
    """
    if method.repeats_blocks:
        raise InvalidInput(
            "compress_ takes a method that works layer by layer",
            method.label,
            "use torch.utils.checkpoint in the model, or asi_core.training.checkpointing on its "
            "traced trained part",
        )
    names = trained_layer_names(model, layers)
    if "" in names:
        raise _bare(model)
    replaced: dict[nn.Module, nn.Module] = {}
    if method.replaces_layers:
        for seed, name in enumerate(names):
            layer = model.get_submodule(name)
            replaced[layer] = _compressed(name, layer, method, seed)
    # All checks come before any change.
    _swap_(model, {**_plain_layers(model), **replaced})
    if lean:
        report = lean_layers_(model)
        log.info("lean: %s; unchanged: %s", _listed(report.replaced), _listed(report.kept))
    return names


def restore_(model: nn.Module) -> None:
    """Undo `compress_` in place: restores plain layers with their weights; none of them is lean.

    Raises:
        InvalidInput: if the model is a compressed layer itself.
    """
    if isinstance(model, CompressedLayer):
        raise _bare(model)
    _swap_(model, _plain_layers(model))
    unlean_(model)


def _plain_layers(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """The plain layer that each compressed layer would be restored to."""
    plain: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, CompressedLayer):
            plain[module] = module.to_plain()
        elif isinstance(module, FusedBatchNorm2d):
            # The convolution no longer computes the normalisation.
            plain[module] = module.alone()
    return plain


def _swap_(model: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> None:
    """Replace the layers `replaced`, under all of their names."""
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if layer in replaced:
            model.set_submodule(name, replaced[layer])


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


def _bare(layer: nn.Module) -> InvalidInput:
    return InvalidInput(
        "a compressed layer must lie in a model", type(layer).__name__, "put it into nn.Sequential"
    )


def trained_layer_names(model: nn.Module, layers: Layers) -> list[str]:
    """The names of the last `layers` convolutions, or the given names, in registration order.

    Raises:
        InvalidInput: if the model has fewer convolutions, or no layer of such a name.
    """
    if isinstance(layers, (int, str)):
        return last_layers(conv_names(model), layers)
    known = dict(model.named_modules(remove_duplicate=False))
    for name in layers:
        if name not in known:
            raise InvalidInput(
                "trained layers must be layers of the model", repr(name), "see named_modules()"
            )
    chosen: dict[nn.Module, str] = {}
    for name, layer in known.items():
        if name in set(layers):
            chosen.setdefault(layer, name)
    return list(chosen.values())


def conv_names(model: nn.Module) -> list[str]:
    """Names of all convolutions, in registration order."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def last_layers(names: Sequence[str], layers: int | str) -> list[str]:
    """The last `layers` of `names`; all of them for "all".

    Raises:
        InvalidInput: if there are fewer than `layers`.
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
            f"layer {name} is a {type(layer).__name__}, whose forward would be lost: "
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
