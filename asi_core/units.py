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
MINUS = "\u2212"
_SAME = "the same"


def three_digits(value: float) -> str:
    """`value` with three significant digits, without exponent from 0.0001 up."""
    if value == 0:
        return "0"
    if value < 0:
        return f"{MINUS}{three_digits(-value)}"
    if value >= 100:
        return f"{value:,.0f}".replace(",", THIN_SPACE)
    return f"{value:.3g}"


def times(ratio: float) -> str:
    """A ratio with three significant digits and a multiplication sign."""
    return f"{three_digits(ratio)}{THIN_SPACE}×"


def less_or_more(value: float, base: float) -> str:
    """How a positive `value` compares with a positive `base`, such as "64× less"."""
    ratio, word = (base / value, "less") if value <= base else (value / base, "more")
    return _SAME if three_digits(ratio) == "1" else f"{times(ratio)} {word}"


def than_vanilla(value: float, base: float) -> str:
    """Such as "64× less than vanilla" or "the same as vanilla"; `base` is vanilla's, both are
    positive."""
    compared = less_or_more(value, base)
    return f"{compared} {'as' if compared == _SAME else 'than'} vanilla"


def fewer_or_more(value: float, base: float, unit: str) -> str:
    """How a positive count of `unit` compares with another, such as "32 % fewer MACs"; from twice
    on as a ratio."""
    ratio = value / base
    if not 0.5 < ratio < 2:
        return f"{times(max(ratio, 1 / ratio))} {'more' if ratio > 1 else 'fewer'} {unit}".strip()
    percent = round(100 * abs(ratio - 1))
    if not percent:
        return f"as many {unit}".strip()
    return f"{percent}{THIN_SPACE}% {'more' if ratio > 1 else 'fewer'} {unit}".strip()


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign, a real minus included."""
    rounded = round(value, digits)
    # Without a sign if nothing is left after rounding.
    return f"{rounded:+.{digits}f}".replace("-", MINUS) if rounded else f"{0:.{digits}f}"


def format_bytes(count: float) -> str:
    """`count` bytes in the largest binary unit in which the number is at least one."""
    if count < 0:
        return f"{MINUS}{format_bytes(-count)}"
    for size, unit in _BYTE_STEPS:
        if count >= size:
            return f"{three_digits(count / size)}{THIN_SPACE}{unit}"
    return f"{three_digits(count)}{THIN_SPACE}B"


def format_count(count: float, unit: str) -> str:
    """`count` of `unit` (such as MACs) with a decimal prefix."""
    if count < 0:
        return f"{MINUS}{format_count(-count, unit)}"
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
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"


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
