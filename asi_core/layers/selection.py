"""Which layers of a network are meant: counts, names, patterns, predicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import index
from typing import Any, SupportsIndex, TypeAlias

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from asi_core.errors import InvalidInput
from asi_core.layers.patterns import last_layers, matching_names, no_such_layer

Predicate: TypeAlias = Callable[[str, nn.Module], bool]
# How many of the last, a pattern, a predicate, or any iterable of names, patterns and predicates.
Layers: TypeAlias = SupportsIndex | str | Predicate | Iterable[str | Predicate]

_KINDS: dict[str, type[nn.Module]] = {"all-conv": nn.Conv2d, "all-linear": nn.Linear}
# Classifiers beside the network's own, which only help while it is trained from the start.
_AUXILIARY = re.compile(r"aux", re.IGNORECASE)


def choose_layers(
    model: nn.Module,
    layers: Layers,
    *,
    exclude: Layers = (),
    called: Sequence[str] | None = None,
) -> list[str]:
    """The names of the layers of `model` that `layers` means, in registration order.

    Args:
        layers: one of
            - an integer: the last so many layers of the kind that the network mainly has, which is
              convolutions, or the linear layers of its blocks; auxiliary classifiers are left out;
            - "all", "all-conv" or "all-linear": all layers of that kind;
            - a layer's name, the end of one ("q_proj"), a pattern of whole names in which * stands
              for any text ("features.1[0-9].*"), or "re:" and a regular expression of whole names;
            - a function of a layer's name and module that returns whether it is meant;
            - any iterable of names, patterns and functions.
        exclude: in the same way, layers that are not meant; they are not counted either.
        called: names of the layers in the order of their calls, if that is known. Then the last
            layers are the last that are called, and layers that are never called do not count.

    Raises:
        InvalidInput: if nothing is meant by one of them, with the nearest names.

    Example:
        >>> choose_layers(model, 4, exclude="re:.*downsample.*")
        >>> choose_layers(model, ["q_proj", "v_proj", "re:.*mlp.fc[12]"])
    """
    left_out = set(_meant(model, exclude, (), called)) if exclude not in ((), 0) else set()
    return _meant(model, layers, left_out, called)


def matching(model: nn.Module, pattern: str) -> list[str]:
    """Names of all modules, of whatever type, that a name, the end of one, a pattern with * or
    "re:..." means.

    Raises:
        InvalidInput: if there is none, with the nearest names.
    """
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if pattern.startswith("re:"):
        found = [name for name in names if _expression(pattern).fullmatch(name)]
    elif not pattern:
        found = [pattern]
    else:
        found = matching_names(names, pattern)
    if not found:
        raise no_such_layer(names, pattern)
    return found


def main_layers(model: nn.Module, called: Sequence[str] | None = None) -> list[str]:
    """Names of the layers that an integer counts, as `choose_layers` describes them."""
    is_auxiliary = _AUXILIARY.match
    convs = [name for name in _of_kind(model, "all-conv") if not is_auxiliary(name)]
    linear = [name for name in _of_kind(model, "all-linear") if not is_auxiliary(name)]
    if called is not None:
        convs, linear = ([n for n in called if n in set(names)] for names in (convs, linear))
    in_blocks = [name for name in linear if re.search(r"\d", name.rpartition(".")[0])]
    if len(in_blocks) > len(convs):
        return in_blocks
    return convs or linear


def _meant(
    model: nn.Module, layers: Any, left_out: Collection[str], called: Sequence[str] | None
) -> list[str]:
    if isinstance(layers, SupportsIndex):
        counted = [name for name in main_layers(model, called) if name not in left_out]
        return _registered(model, last_layers(counted, index(layers)))
    if isinstance(layers, str) or callable(layers):
        patterns = [layers]
    elif isinstance(layers, Iterable):
        patterns = list(layers)
    else:
        raise InvalidInput(
            "layers must be a number, a name, a pattern, a function or several of them",
            repr(layers),
            "see asi_core.layers.selection.choose_layers",
        )
    names = [name for pattern in patterns for name in _by_pattern(model, pattern, called)]
    return _registered(model, [name for name in names if name not in left_out])


def _by_pattern(
    model: nn.Module, pattern: str | Predicate, called: Sequence[str] | None
) -> list[str]:
    if callable(pattern):
        plain = [*_of_kind(model, "all-conv"), *_of_kind(model, "all-linear")]
        found = [name for name in plain if pattern(name, model.get_submodule(name))]
        if not found:
            raise InvalidInput(
                "a function that chooses layers must choose at least one", "none", "change it"
            )
        return found
    if pattern == "all":
        return main_layers(model, called)
    if pattern in _KINDS:
        return _of_kind(model, pattern)
    found = matching(model, pattern)
    if len(found) == 1:
        return found
    # Of several, the layers: a pattern may match the blocks around them as well.
    known = {*_of_kind(model, "all-conv"), *_of_kind(model, "all-linear")}
    return [name for name in found if name in known] or found


def _of_kind(model: nn.Module, kind: str) -> list[str]:
    """Names of all layers of a kind, in registration order."""
    return [
        name
        for name, module in model.named_modules()
        # PyTorch's attention reads the weight of that type of layer, and never calls it.
        if isinstance(module, _KINDS[kind])
        and not isinstance(module, NonDynamicallyQuantizableLinear)
    ]


def _registered(model: nn.Module, chosen: Iterable[str]) -> list[str]:
    """In registration order, each layer once: of several names that are chosen the first."""
    wanted = set(chosen)
    first: dict[nn.Module, str] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if name in wanted:
            first.setdefault(layer, name)
    return list(first.values())


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern.removeprefix("re:"))
    except re.error as error:
        raise InvalidInput(
            "a pattern of layers must be a regular expression after 're:'",
            repr(pattern),
            f"mend it ({error})",
        ) from None
