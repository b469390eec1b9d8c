"""Replacing the last layers of a model by compressed ones, and back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.adapted import AdaptedConv2d, AdaptedLayer, AdaptedLinear
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.factored import FactoredConv2d, FactoredLayer, FactoredLinear
from asi_core.layers.first_pass import forget_first_pass_, watch_first_pass_
from asi_core.layers.freezing import release_statistics_
from asi_core.layers.lean import LeanForms, LeanLayer, lean_layers_, unlean_
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d, FusedBatchNorm2d
from asi_core.layers.lean_settings import check_lean_settings
from asi_core.layers.linear import CompressedLinear
from asi_core.layers.own_forward import OwnForward
from asi_core.layers.selection import Layers, choose_layers, matching
from asi_core.layers.selective import SelectiveConv2d, SelectiveLayer, SelectiveLinear
from asi_core.methods import Method, as_method

log = logging.getLogger(__name__)

# The functions of PyTorch's layers that compute; one that overrides any computes in its own way.
_COMPUTING = ("forward", "_conv_forward")

# A method, its kind, or what differs from the method of the other layers.
MethodLike = Method | str | Mapping[str, Any]

_REPLACEMENTS: dict[type[nn.Module], type[CompressedLayer]] = {
    kind.plain: kind for kind in (CompressedConv2d, CompressedLinear)
}
# Of methods that change what is computed.
_ADAPTED: dict[type[CompressedLayer], type[AdaptedLayer]] = {
    CompressedConv2d: AdaptedConv2d,
    CompressedLinear: AdaptedLinear,
}
_FACTORED: dict[type[CompressedLayer], type[FactoredLayer]] = {
    CompressedConv2d: FactoredConv2d,
    CompressedLinear: FactoredLinear,
}

_SELECTIVE: dict[type[CompressedLayer], type[SelectiveLayer]] = {
    CompressedConv2d: SelectiveConv2d,
    CompressedLinear: SelectiveLinear,
}
# Whose parameters are not those that a plain layer trains.
_OTHER_PARAMETERS = (AdaptedLayer, SelectiveLayer)


def compress_(
    model: nn.Module,
    method: Method | str,
    *,
    layers: Layers,
    exclude: Layers = (),
    per_layer: Mapping[str, MethodLike] | None = None,
    lean: bool = True,
    activation_bits: int | None = None,
    recompute_attention: bool = False,
    **settings: Any,
) -> list[str]:
    """Make layers of `model` keep their input by `method`, in place.

    Nothing is frozen here (`prepare_` does both) but the weight and bias of a layer for which the
    method trains an adapter. What is kept less follows from what is frozen when a forward pass
    runs, so freezing before and after this call are the same. A second call adds its layers to
    those of the first, and compresses again those that both mean; `restore_` undoes all. A layer
    that is registered under several names, or called several times, becomes one compressed layer
    under all of them.

    Args:
        method: a method, or its kind ("asi") with its `settings`.
        layers: which layers, as `choose_layers` takes them.
        exclude: which layers not, in the same way.
        per_layer: other methods for some of these layers, by name, end of a name or "re:..."; the
            first that matches counts. A mapping changes settings of `method`; "vanilla" leaves the
            layer as it is.
        lean: whether activations, normalisations and poolings become lean as well (`lean_`, which
            reports what cannot be, and is better called on a traced model: functions count too).
            They give the same numbers, and keep for backward only what their gradients need.
        activation_bits: 8 or 4 to keep for activations such as GELU and for layer normalisations in
            so many bits what their gradients need, which become approximate (`lean_`).
        recompute_attention: whether frozen attention runs again in backward (`lean_`).
        settings: of the method, if it is given by its kind.

    Returns:
        The layers' names, in registration order.

    Raises:
        InvalidInput: if no such layers exist or one of them is the model itself, if there is no
            such method or setting, if the method repeats blocks, or if a setting of lean layers is
            given without them.
        Unsupported: if one of them cannot be compressed. The model is left unchanged, as it always
            is when an error is raised here. The first training step raises it for a layer that the
            model never calls, but whose weight it reads.

    Example:
        >>> compress_(model, "asi", explained_variance=0.8, layers=4)
        ['layer4.0.conv2', 'layer4.0.downsample.0', 'layer4.1.conv1', 'layer4.1.conv2']
    """
    check_lean_settings(activation_bits, recompute_attention, lean=lean)
    names = choose_layers(model, layers, exclude=exclude)
    compress_layers_(model, methods_of(model, names, as_method(method, **settings), per_layer))
    if lean:
        report = lean_layers_(model, None, LeanForms(activation_bits, recompute_attention))
        log.info("lean: %s; unchanged: %s", _listed(report.replaced), _listed(report.kept))
    return names


def methods_of(
    model: nn.Module,
    names: Collection[str],
    method: Method,
    per_layer: Mapping[str, MethodLike] | None,
) -> dict[str, Method]:
    """The method of each layer, as `compress_` takes them.

    Raises:
        InvalidInput: if a pattern matches no layer of the model, or none of `names`.
    """
    found: dict[str, Method] = {}
    for pattern, given in (per_layer or {}).items():
        meant = [name for name in matching(model, pattern) if name in names]
        if not meant:
            raise InvalidInput(
                "layers with settings of their own must be among those that are trained",
                repr(pattern),
                f"choose one of {', '.join(names)}",
            )
        own = as_method(given, like=method)
        for name in meant:
            found.setdefault(name, own)
    return {name: found.get(name, method) for name in names}


def compress_layers_(model: nn.Module, methods: Mapping[str, Method]) -> None:
    """Compress each of these layers by its method, in place; otherwise as `compress_`."""
    if "" in methods:
        raise _bare(model)
    replaced: dict[nn.Module, nn.Module] = {}
    for seed, (name, method) in enumerate(methods.items()):
        if method.repeats_blocks:
            raise InvalidInput(
                "compress_ takes a method that works layer by layer",
                method.label,
                "use torch.utils.checkpoint in the model, or asi_core.training.checkpointing on "
                "its traced trained part",
            )
        layer = model.get_submodule(name)
        if method.replaces_layers:
            replaced[layer] = _compressed(name, layer, method, seed)
        elif isinstance(layer, CompressedLayer):
            replaced[layer] = layer.to_plain()
    # Nothing is changed before all of them are known to work.
    _swap_(model, {**_parted(model, replaced), **replaced})
    watch_first_pass_(model, methods)


def restore_(model: nn.Module) -> None:
    """Undo `compress_` and `prepare_` in place: plain layers with their weights, none of them lean.

    What is frozen stays frozen, and adapters are merged into the weights that they update, which
    are trained again; batch normalisations follow `model.train()` again.

    Raises:
        InvalidInput: if the model is a compressed layer itself.
    """
    if isinstance(model, CompressedLayer):
        raise _bare(model)
    _swap_(model, _plain_layers(model))
    unlean_(model)
    release_statistics_(model)
    forget_first_pass_(model)


def _parted(model: nn.Module, replaced: Collection[nn.Module]) -> dict[nn.Module, nn.Module]:
    """Normalisations whose convolution is replaced and computes them no more, as layers again."""
    norms = {id(layer.norm) for layer in replaced if isinstance(layer, CompressedConvNorm2d)}
    return {
        module: module.alone()
        for module in model.modules()
        if isinstance(module, FusedBatchNorm2d) and id(module) in norms
    }


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
    for before, after in replaced.items():
        if isinstance(before, _OTHER_PARAMETERS) or isinstance(after, _OTHER_PARAMETERS):
            # The same layers are trained as before, by parameters that may be others.
            after.requires_grad_(any(p.requires_grad for p in before.parameters()))


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


def _bare(layer: nn.Module) -> InvalidInput:
    return InvalidInput(
        "a compressed layer must lie in a model", type(layer).__name__, "put it into nn.Sequential"
    )


def _compressed(name: str, layer: nn.Module, method: Method, seed: int) -> CompressedLayer:
    plain = layer.to_plain() if isinstance(layer, (CompressedLayer, LeanLayer)) else layer
    kind = _compressed_kind(plain)
    if kind is None:
        raise Unsupported(
            f"layer {name} is a {type(plain).__name__}: only nn.Conv2d and nn.Linear layers and "
            "types derived from them can be compressed; name it in exclude."
        )
    dtype = getattr(plain.weight, "dtype", None)
    if dtype is None or not dtype.is_floating_point:
        raise Unsupported(
            f"layer {name} has {dtype} weights: only real floating-point ones can be compressed."
        )
    kind = _kind_for(method, kind)
    if kind is None:
        raise Unsupported(
            f"layer {name} is a {type(plain).__name__}, whose forward pass is its own: "
            f"{method.label} changes only layers that compute as PyTorch's; name it in exclude."
        )
    compressed = kind.from_plain(plain, method, seed)
    shape = tuple(getattr(plain.weight, "shape", ()))
    reason = method.why_unsupported_layer(compressed.geometry, shape)
    if reason is not None:
        raise Unsupported(f"layer {name} is a {type(plain).__name__}: {reason}.")
    return compressed


def _kind_for(method: Method, kind: type[CompressedLayer]) -> type[CompressedLayer] | None:
    """The type of layer that does what the method does, in place of `kind`; None without one."""
    if method.adapter is not None:
        return _ADAPTED.get(kind)
    if method.plans_weights:
        return _SELECTIVE.get(kind)
    return _FACTORED.get(kind) if method.factors_weight else kind


def _compressed_kind(layer: nn.Module) -> type[CompressedLayer] | None:
    """What can take the place of a layer; None if nothing can."""
    for kind, compressed in _REPLACEMENTS.items():
        if isinstance(layer, kind) and not isinstance(layer, LazyModuleMixin):
            own = [getattr(type(layer), name, None) for name in _COMPUTING]
            is_plain = own == [getattr(kind, name, None) for name in _COMPUTING]
            return compressed if is_plain and not is_parametrized(layer) else OwnForward
    return None
