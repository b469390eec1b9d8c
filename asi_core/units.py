"""Formatting of numbers with units, for display only."""

from __future__ import annotations

from collections.abc import Callable

KIB = 2**10
MIB = 2**20
GIB = 2**30

_BYTE_STEPS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_COUNT_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
# Thin and non-breaking, between a number and its unit.
THIN_SPACE = "\u202f"
# In place of an unknown number.
DASH = "–"


def three_digits(value: float) -> str:
    """`value` with three significant digits, without exponent from 0.0001 up."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", THIN_SPACE)
    return f"{value:.3g}"


def format_bytes(count: float) -> str:
    """`count` bytes in the largest binary unit in which the number is at least one."""
    for size, unit in _BYTE_STEPS:
        if count >= size:
            return f"{three_digits(count / size)}{THIN_SPACE}{unit}"
    return f"{three_digits(count)}{THIN_SPACE}B"


def format_count(count: float, unit: str) -> str:
    """`count` of `unit` (such as MACs) with a decimal prefix."""
    for size, prefix in _COUNT_STEPS:
        if count >= size:
            return f"{three_digits(count / size)}{THIN_SPACE}{prefix}{unit}"
    return f"{three_digits(count)}{THIN_SPACE}{unit}"


def format_seconds(seconds: float) -> str:
    """A duration in milliseconds, seconds, or minutes and seconds, depending on its size."""
    if seconds < 1:
        return f"{three_digits(seconds * 1e3)}{THIN_SPACE}ms"
    if seconds < 100:
        return f"{three_digits(seconds)}{THIN_SPACE}s"
    return f"{seconds // 60:.0f}{THIN_SPACE}min {seconds % 60:.0f}{THIN_SPACE}s"


def by_formula(count: float | None, written: Callable[[float], str]) -> str:
    """`count` formatted by `written`; "no closed form" for None."""
    return "no closed form" if count is None else written(count)


def bytes_by_formula(count: float | None) -> str:
    """Such as "12 KiB by formula"."""
    return by_formula(count, lambda known: f"{format_bytes(known)} by formula")


def layer_count(layers: int | str) -> str:
    """Such as "1 layer", "4 layers", "all layers" or "layers features.1[0-9].*"."""
    if isinstance(layers, str) and layers != "all":
        return f"layers {layers}"
    return f"{layers} layer{'' if layers == 1 else 's'}"


def last_layers(layers: int | str) -> str:
    """Such as "the last layer", "the last 4 layers", "all layers" or "layers conv1 conv2"."""
    if isinstance(layers, str):
        return layer_count(layers)
    return "the last layer" if layers == 1 else f"the last {layers} layers"
