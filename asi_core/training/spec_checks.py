"""Checks and defaults of a run's fields that need more than one field, or a model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from asi_core.errors import InvalidInput, shortened
from asi_core.methods import Vanilla
from asi_core.zoo.cards import ModelCard

# Of names and patterns of layers, in characters.
_LONGEST_LAYERS = 2000
_LONGEST_SHOWN = 80


def at_most(most: int, what: str, value: int, why: str) -> None:
    """Raise unless a value is at most that of something else."""
    if value > most:
        raise InvalidInput(f"{what} must be at most {most}, {why}", value, "choose less")


def check_modes(model: ModelCard, given: int, counts: Collection[int]) -> None:
    """Raise unless `given` ranks are one for each mode of all trained layers' inputs."""
    if len(counts) > 1:
        raise InvalidInput(
            f"ranks must be one number where inputs have {' or '.join(map(str, sorted(counts)))} "
            f"modes, as those of {model.title}",
            f"a list of {given}",
            "give one number for all modes",
        )
    if given not in counts:
        (count,) = counts
        raise InvalidInput(
            f"ranks must be one number or {count}, one per mode of {model.title}",
            f"a list of {given}",
            f"give {', '.join(model.names_of_modes(count))}, or one number for all modes",
        )


def as_layers(given: Any) -> Any:
    """Names and patterns of layers as one text; a number written as text as a number."""
    if isinstance(given, list | tuple) and all(isinstance(part, str) for part in given):
        given = " ".join(given)
    if not isinstance(given, str):
        return given
    words = given.split()
    if not words or len(given) > _LONGEST_LAYERS or any(word.startswith("re:") for word in words):
        raise InvalidInput(
            f"trained layers must be a number, all, or at most {_LONGEST_LAYERS} characters of "
            "names and patterns with *, ? or [...]",
            repr(shortened(given, _LONGEST_SHOWN)),
            "write for example features.1[0-9].*",
        )
    is_number = len(words) == 1 and words[0].lstrip("-").isdecimal()
    return int(words[0]) if is_number else " ".join(words)


def own_rate(given: dict[str, Any]) -> float:
    """The learning rate of a run that names none, from the fields before it."""
    # Where no layer is trained, all methods are equal.
    method = Vanilla() if given["layers"] == 0 else given["method"]
    rate: float = method.learning_rates[given["optimizer"]]
    return rate
