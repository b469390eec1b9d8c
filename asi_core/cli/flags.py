"""Command-line flags generated from the `fields.Setting` of each field."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from asi_core.errors import InvalidInput, shortened
from asi_core.fields import ONE_RANK, FieldType, SettingField, setting_fields
from asi_core.methods import ASI, METHODS
from asi_core.methods.registry import method_fields
from asi_core.training.spec import RunSpec
from asi_core.units import MIB

Number = TypeVar("Number", int, float)

# Length to which user input is shortened in a message.
_LONGEST_PART = 80
# The default of --method.
USUAL_METHOD = ASI.class_kind()
# Groups of fields: the size of a step, what it starts from, and what a step needs.
SIZE_FIELDS = ("batch_size", "image_size")
LEAN_FIELDS = ("activation_bits", "recompute_attention")
START_FIELDS = ("pretrained", "lean", *LEAN_FIELDS, "skip_damaged")
# What changes the memory that a step needs, and not what it computes.
MEMORY_FIELDS = ("micro_batch", "apply_early", "layout", "optimizer", "momentum")
STEP_FIELDS = ("model", "layers", *SIZE_FIELDS)


# Parsers of values --------------------------------------------------------------------------------


def layers(text: str) -> int | str:
    """The number of last layers; or "all", or names and patterns, as text."""
    return int(text) if text.strip().lstrip("-").isdecimal() else text


def numbers(text: str) -> tuple[int, ...]:
    """Comma-separated integers."""
    return _numbers(text, int, "whole numbers with commas between them")


def fractions(text: str) -> tuple[float, ...]:
    """Comma-separated numbers."""
    return _numbers(text, float, "numbers with commas between them")


def words(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(part.strip() for part in text.split(","))


def several_layers(text: str) -> tuple[int | str, ...]:
    """Comma-separated layers, as `layers` reads each."""
    return tuple(layers(part) for part in words(text))


def ranks(text: str) -> tuple[int, ...]:
    """One rank per mode, comma-separated."""
    found = numbers(text)
    if len(found) == 1:
        raise argparse.ArgumentTypeError(
            f"a list of ranks needs one per mode, such as 16,32,4,4 for batch, channel, height and "
            f"width; write --rank {shortened(text, _LONGEST_PART)} for one rank in all modes"
        )
    return found


def _numbers(text: str, kind: Callable[[str], Number], rule: str) -> tuple[Number, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        got = shortened(repr(text), _LONGEST_PART)
        raise argparse.ArgumentTypeError(f"must be {rule}, got {got}") from None


def _switches(text: str) -> tuple[bool, ...]:
    known = {"on": True, "off": False}
    if not set(words(text)) <= set(known):
        got = shortened(repr(text), _LONGEST_PART)
        raise argparse.ArgumentTypeError(f"must be on, off, or both with a comma, got {got}")
    return tuple(known[word] for word in words(text))


def _chosen(field: SettingField) -> Callable[[str], tuple[Any, ...]]:
    """A parser of several of a field's choices, which need not be strings."""
    by_word = {str(choice): choice for choice in field.choices}
    return lambda text: tuple(by_word.get(word, word) for word in words(text))


_ONE: dict[FieldType, Callable[[str], Any]] = {
    "whole": int,
    "number": float,
    "layers": layers,
    "text": str,
}
_SEVERAL: dict[FieldType, Callable[[str], tuple[Any, ...]]] = {
    "whole": numbers,
    "number": fractions,
    "layers": several_layers,
    "text": words,
    "switch": _switches,
}


# Flags --------------------------------------------------------------------------------------------


def add_run_flags(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add flags for fields of a run, with the fields' defaults."""
    fields = setting_fields(RunSpec)
    for name in names:
        field = fields[name]
        # None: a switch, or a field without a default, was not given.
        default = None if field.type == "switch" else field.default
        parser.add_argument(field.flag, **_read_one(field), default=default)


def add_method_flags(parser: argparse.ArgumentParser) -> None:
    """Add --method and flags for the settings of all methods, each None by default."""
    kinds = ", ".join(METHODS)
    parser.add_argument("--method", help=f"{kinds}; {USUAL_METHOD} if layers are trained")
    _add_method_settings(parser)


def add_methods_flags(parser: argparse.ArgumentParser) -> None:
    """Add --method, which takes several, and flags for the settings of all methods."""
    kinds = ", ".join(METHODS)
    parser.add_argument(
        "--method",
        "--methods",
        dest="methods",
        type=words,
        metavar="KIND,...",
        help=f"one or several of {kinds}; {USUAL_METHOD} if layers are trained",
    )
    _add_method_settings(parser)


def _add_method_settings(parser: argparse.ArgumentParser) -> None:
    for field, methods in method_fields().values():
        for flag, how in _flags_of_setting(field).items():
            owners = ", ".join(method.label for method in methods)
            parser.add_argument(flag, **{**how, "help": f"{owners}: {how['help']}"})


def add_setting_flag(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flag of one method setting."""
    field, _ = method_fields()[name]
    for flag, how in _flags_of_setting(field).items():
        parser.add_argument(flag, **how)


def add_axes(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add flags that take several values, for fields of a run and all methods' settings."""
    for name in names:
        _add_axis(parser, setting_fields(RunSpec)[name])
    for field, methods in method_fields().values():
        if field.type == "ranks":
            add = parser.add_argument
            add(ONE_RANK, type=numbers, metavar="R,...", help="ranks, each for all modes")
            rule = "one rank per mode; repeatable"
            add(field.flag, type=ranks, action="append", metavar="B,C,H,W", help=rule)
        else:
            _add_axis(parser, field, ", ".join(method.label for method in methods) + ": ")


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def _flags_of_setting(field: SettingField) -> dict[str, dict[str, Any]]:
    if field.type != "ranks":
        return {field.flag: {**_read_one(field), "default": None}}
    return {
        ONE_RANK: {"type": int, "metavar": "R", "help": "one rank for all modes"},
        field.flag: {"type": ranks, "metavar": "B,C,H,W", "help": "one rank per mode"},
    }


def _read_one(field: SettingField) -> dict[str, Any]:
    how: dict[str, Any] = {"help": _help(field)}
    if field.type == "switch" and field.setting.off_flag:
        return {**how, "action": "store_false", "dest": field.name}
    if field.type == "switch":
        # A switch that is off by default needs no --no- flag.
        can_be_off = argparse.BooleanOptionalAction if field.default else "store_true"
        return {**how, "action": can_be_off}
    if field.type == "choice":
        kinds = {type(choice) for choice in field.choices}
        choices = "|".join(map(str, field.choices))
        return {**how, "type": kinds.pop() if len(kinds) == 1 else str, "metavar": choices}
    in_mib = field.setting.unit == "bytes"
    return {**how, "type": float if in_mib else _ONE[field.type], "metavar": _metavar(field)}


def _help(field: SettingField) -> str:
    setting = field.setting
    # The help of a switch continues its label.
    text = f"{setting.label}. {setting.help}" if field.type == "switch" else setting.help
    text = f"No {text[0].lower()}{text[1:]}" if setting.off_flag else text
    return text.replace("%", "%%")


def _metavar(field: SettingField) -> str:
    if field.type == "layers":
        return "K|all|NAMES"
    units = {"bytes": "MIB", "": field.name.rpartition("_")[2].upper()}
    return units.get(field.setting.unit, field.setting.unit.upper())


def _add_axis(parser: argparse.ArgumentParser, field: SettingField, owners: str = "") -> None:
    flag = field.flag
    several = f"--{field.setting.names.replace(' ', '-')}"
    reader = _chosen(field) if field.type == "choice" else _SEVERAL[field.type]
    if field.setting.unit == "bytes":
        reader = fractions
    parser.add_argument(
        *dict.fromkeys((flag, several) if several.startswith(flag) else (flag,)),
        dest=field.option,
        type=reader,
        metavar=f"{_metavar(field)},...",
        help=owners + _help(field),
    )


# Parsed values ------------------------------------------------------------------------------------


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The method settings given by flags, by name.

    Raises:
        InvalidInput: if ranks are given twice, or a size is invalid.
    """
    found = {}
    for name, (field, _) in method_fields().items():
        value = _given(options, field)
        if value is not None:
            found[name] = value
    return found


def _given(options: argparse.Namespace, field: SettingField) -> Any:
    if field.type == "ranks":
        one, each = getattr(options, "rank", None), getattr(options, "ranks", None)
        if one is not None and each is not None and not isinstance(one, tuple):
            raise InvalidInput("ranks must be given once", "--rank and --ranks", "drop one of them")
        if isinstance(one, tuple) or isinstance(each, list):
            return (*(one or ()), *(each or ()))
        return each if one is None else one
    value = getattr(options, field.option, None)
    if value is None or field.setting.unit != "bytes":
        return value
    return tuple(map(in_bytes, value)) if isinstance(value, tuple) else in_bytes(value)


def in_bytes(mib: float) -> int:
    """A size in MiB, converted to whole bytes.

    Raises:
        InvalidInput: if it is not positive and finite.
    """
    if not 0 < mib * MIB < float("inf"):
        raise InvalidInput("the budget must be a positive number of MiB", mib, "try 1")
    return int(mib * MIB)
