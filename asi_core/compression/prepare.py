"""Making a network ready for compressed fine-tuning, and reporting what that saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from asi_core.compression.config import Compression
from asi_core.compression.report import LayerReport, OtherReport, PreparationReport
from asi_core.costs.forward import ForwardPass, call_model, run_forward
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.freezing import hold_statistics_, train_only_
from asi_core.layers.lean import LeanReport, lean_
from asi_core.layers.selection import choose_layers, matching
from asi_core.layers.surgery import compress_layers_, methods_of, restore_
from asi_core.methods import Method


def prepare_(model: nn.Module, config: Compression, *, example: Any = None) -> PreparationReport:
    """Make `model` ready for compressed fine-tuning, in place, and report what it keeps.

    Everything is frozen but the chosen layers and what else is to be trained; those layers are
    compressed; all others are made lean. What earlier calls have done is undone first, but weights
    stay. Any loop and any optimiser can train the model then: give the optimiser the parameters
    that require a gradient.

    Args:
        config: what is trained and how.
        example: a batch, as a tensor, a tuple of positional arguments or a mapping of keyword
            arguments. With it the report has the bytes of a step, which two forward passes count
            (one of them with the plain layers: take a small batch if those need too much memory),
            and layers that the network never calls are refused. Take real data where ranks are
            found from the explained variance.

    Returns:
        What is trained and kept. `print` writes it as a table.

    Raises:
        InvalidInput: if layers are chosen that do not exist, or are never called.
        Unsupported: if a layer cannot be compressed. The model is left as it was.

    Example:
        >>> config = Compression("asi", ranks=(8, 16, 4, 4), layers=4, also_trained=["fc"])
        >>> print(prepare_(model, config, example=images))
    """
    with _undone_on_error(model):
        restore_(model)
        called = None if example is None else _called(model, example)
        names = choose_layers(model, config.layers, exclude=config.exclude, called=called)
        methods = methods_of(model, names, config.method, config.per_layer)
        others = [name for part in config.also_trained for name in matching(model, part)]
        if called is not None:
            _check_called(names, called)
        train_only_(model, names, others, train_norm=config.train_norm)
        if config.freeze_statistics:
            hold_statistics_(model)
        before = None if example is None else run_forward(model, example, names)
        compress_layers_(model, methods)
        lean = _made_lean(model, config)
        now = None
        if example is not None:
            with unchanged_memories(model):
                now = run_forward(model, example, names)
    return _report(model, methods, before, now, lean)


def _made_lean(model: nn.Module, config: Compression) -> LeanReport:
    if not config.lean:
        return LeanReport((), {})
    return lean_(
        model,
        fold=config.fold,
        activation_bits=config.activation_bits,
        recompute_attention=config.recompute_attention,
    )


def _report(
    model: nn.Module,
    methods: Mapping[str, Method],
    before: ForwardPass | None,
    now: ForwardPass | None,
    lean: LeanReport,
) -> PreparationReport:
    layers = tuple(
        LayerReport(
            name=name,
            kind=_kind(model.get_submodule(name)),
            method=method.settings_label,
            input_shape=None if now is None else now.input_shape(name),
            before_bytes=None if before is None else before.layer_bytes(name),
            now_bytes=None if now is None else now.layer_bytes(name),
        )
        for name, method in methods.items()
    )
    others = () if now is None else now.others(methods)
    parameters = list(model.parameters())
    return PreparationReport(
        layers=layers,
        before_bytes=None if before is None else before.total,
        now_bytes=None if now is None else now.total,
        trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        parameters=sum(p.numel() for p in parameters),
        others=tuple(OtherReport(name, nbytes, _reason(name, lean)) for name, nbytes in others),
        rounded=_rounded(lean, now),
    )


def _rounded(lean: LeanReport, now: ForwardPass | None) -> dict[str, int]:
    """Layers with approximate gradients; with an example, those of which a gradient is needed."""
    if now is None:
        return dict(lean.rounded)
    keeping = {name for name, _ in now.others(())}
    return {name: bits for name, bits in lean.rounded.items() if name in keeping}


def _reason(name: str, lean: LeanReport) -> str:
    if name in lean.rounded:
        return f"in {lean.rounded[name]} bits"
    return lean.kept.get(name, "")


def _kind(layer: nn.Module) -> str:
    plain = layer.plain if isinstance(layer, CompressedLayer) else type(layer)
    if not isinstance(layer, nn.Conv2d):
        return plain.__name__
    grouped = ", depthwise" if layer.groups == layer.in_channels > 1 else ""
    return f"{plain.__name__} {'x'.join(map(str, layer.kernel_size))}{grouped}"


def _called(model: nn.Module, example: Any) -> list[str]:
    """Names of the layers in the order of their first calls, in evaluation mode."""
    order: dict[str, None] = {}
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.setdefault(name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()
            call_model(model, example)
    finally:
        for handle in handles:
            handle.remove()
        _set_modes(modes)
    return list(order)


def _check_called(names: Sequence[str], called: Sequence[str]) -> None:
    if idle := [name for name in names if name not in called]:
        raise InvalidInput(
            "trained layers must be called in a forward pass",
            ", ".join(idle),
            "the model reads their weights itself or does not use them; leave them out of layers",
        )


@contextmanager
def _undone_on_error(model: nn.Module) -> Iterator[None]:
    """Leave the model as it was if anything is raised within."""
    modules = dict(model.named_modules(remove_duplicate=False))
    hooks = [(d, dict(d)) for d in (model._forward_hooks, model._forward_pre_hooks)]
    modes = {module: module.training for module in modules.values()}
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        yield
    except BaseException:
        for name, module in modules.items():
            if name and model.get_submodule(name) is not module:
                model.set_submodule(name, module)
        for registered, before in hooks:
            registered.clear()
            registered.update(before)
        _set_modes(modes)
        for parameter, requires_grad in trained.items():
            parameter.requires_grad_(requires_grad)
        raise


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for module, training in modes.items():
        # Not `train`, which some models override and which reaches their children.
        module.training = training


@contextmanager
def unchanged_memories(model: nn.Module) -> Iterator[None]:
    """Forget what layers learn within: an example need not be the data that is trained on."""
    layers = [layer for layer in model.modules() if isinstance(layer, CompressedLayer)]
    before = [
        (replace(layer.memory, factors=dict(layer.memory.factors)), layer.ranks, layer.was_called)
        for layer in layers
    ]
    try:
        yield
    finally:
        for layer, known in zip(layers, before, strict=True):
            layer.memory, layer.ranks, layer.was_called = known
