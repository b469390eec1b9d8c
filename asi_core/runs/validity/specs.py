"""Checks that a valid specification has numbers and names that can be stored and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asi_core.errors import AsiError
from asi_core.training.spec import RunSpec

# The largest integer up to which a double is exact.
MOST_COUNT = 2**53
# Seeds are below it; much larger numbers overflow doubles when they are drawn.
_LARGEST_WHOLE = 2**64
_LONGEST_DATASET = 4096


class InvalidRun(AsiError, ValueError):
    """A value that is impossible for a run with its specification."""


def check_spec(spec: RunSpec) -> None:
    """Check sizes of numbers and names; pydantic has checked the rest.

    Raises:
        InvalidRun: naming the field.
    """
    for name, value in _leaves(spec.model_dump()):
        if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
            raise InvalidRun(f"{name} must be at most {_LARGEST_WHOLE}")
    if len(spec.dataset) > _LONGEST_DATASET:
        raise InvalidRun(f"dataset must have at most {_LONGEST_DATASET} characters")


def _leaves(value: Any, name: str = "specification") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, part in value.items() for leaf in _leaves(part, str(key))]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part, name)]
    return [(name, value)]
