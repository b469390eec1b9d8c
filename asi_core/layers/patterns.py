"""Layers by number, name and pattern, chosen from names alone, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from asi_core.errors import InvalidInput

ALL = "all"
_MOST_NEAR = 3
_WILD = frozenset("*?[")


def last_layers(names: Sequence[str], layers: int | str) -> list[str]:
    """The last `layers` of `names`; all of them for "all".

    Raises:
        InvalidInput: if there are fewer.
    """
    count = len(names) if layers == ALL else layers
    if not (isinstance(count, int) and 0 <= count <= len(names)):
        raise InvalidInput(
            f"trained layers must be between 0 and {len(names)}, the trainable layers of the model",
            layers,
            "choose fewer layers, or 'all'",
        )
    return list(names[len(names) - count :])


def chosen_layers(names: Sequence[str], layers: int | str) -> list[str]:
    """Those of `names` that `layers` means, in their order.

    Args:
        names: of all trainable layers, in registration order.
        layers: how many of the last, "all", or names and patterns separated by spaces, each as
            `matching_names` takes them.

    Raises:
        InvalidInput: if there are fewer layers, or none is meant by one of the patterns.

    Example:
        >>> chosen_layers(["stem", "blocks.0.conv", "blocks.1.conv"], "stem blocks.[1-9].*")
        ['stem', 'blocks.1.conv']
    """
    if isinstance(layers, int) or layers == ALL:
        return last_layers(names, layers)
    chosen: set[str] = set()
    for pattern in layers.split():
        found = matching_names(names, pattern)
        if not found:
            raise no_such_layer(names, pattern)
        chosen.update(found)
    return [name for name in names if name in chosen]


def matching_names(names: Sequence[str], pattern: str) -> list[str]:
    """Those of `names` that a name, the end of one ("q_proj" or "mlp.0"), or a pattern with *, ?
    or [...] means, where * stands for any text; the pattern matches a whole name."""
    if _WILD.intersection(pattern):
        return [name for name in names if fnmatchcase(name, pattern)]
    if pattern in names:
        return [pattern]
    return [name for name in names if name.endswith(f".{pattern}")]


def no_such_layer(names: Sequence[str], pattern: str) -> InvalidInput:
    """That nothing is meant by a pattern, with the nearest names."""
    near = get_close_matches(pattern, names, _MOST_NEAR, 0.4)
    within = any(name.startswith(f"{pattern}.") for name in names)
    advice = f"did you mean {', '.join(near)}" if near else f"for example {', '.join(names[-2:])}"
    return InvalidInput(
        "layers must be layers of the model",
        repr(pattern),
        f"write {pattern}.* for all layers within" if within else advice,
    )
