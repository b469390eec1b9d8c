"""Settings of runs and methods: label, help and limits are declared at the field.

A field of a pydantic model that the user may set carries a `Setting`:

    patch: Annotated[int, Setting("Patch", "R: gradients are averaged over R x R.", least=1)] = 2

It is the only source for validation, the widgets of the pages, the command line's flags, the axes
of sweeps, and the command that repeats a run.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from asi_core.errors import InvalidInput
from asi_core.units import MIB

# The kinds of widgets and flags: on or off, an integer, a number, one of a few, text, layers (how
# many of the last, or names and patterns), one rank or one per mode.
FieldType = Literal["switch", "whole", "number", "choice", "text", "layers", "ranks"]

# One rank for all modes; the flag of the field `ranks` takes one per mode.
ONE_RANK = "--rank"

# Validation context of a stored run: `most_computed` does not apply to it.
OF_RECORD = "of_record"


@dataclass(frozen=True, slots=True)
class Setting:
    """Label, help and limits of a field.

    Attributes:
        label: the widget's label, also used in error messages.
        help: one or two sentences.
        least, most: inclusive limits.
        above, below: exclusive limits.
        most_computed: upper limit for new runs; stored runs may exceed it.
        step: increment of the widget's buttons.
        slider: the ends of a slider, if the widget is one.
        unit: unit of the value, where it is not obvious.
        way_out: the remedy in an error message.
        choices: titles of the values of a field that takes one of a few.
        usual: initial value of the widget if the field has no default.
        axis: initial values of a sweep's axis; empty for what is seldom varied.
        plural: plural of the label, if it is not the label with an s.
        empty: what a box without a value says: the value's meaning.
        off_flag: the command-line flag that turns a switch off.
    """

    label: str
    help: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    most_computed: float | None = None
    step: float | None = None
    slider: tuple[float, float] | None = None
    unit: str = ""
    way_out: str = ""
    choices: Mapping[Any, str] = field(default_factory=dict, hash=False)
    usual: Any = None
    axis: tuple[Any, ...] = ()
    plural: str = ""
    off_flag: str = ""
    empty: str = "automatic"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    @property
    def name(self) -> str:
        """The label as it is written within a sentence."""
        return self.label if self.label[1:2].isupper() else self.label[0].lower() + self.label[1:]

    @property
    def names(self) -> str:
        """The label's plural as it is written within a sentence."""
        return self.plural or f"{self.name}s"

    def _checked(self, value: Any, info: ValidationInfo) -> Any:
        is_record = bool((info.context or {}).get(OF_RECORD))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                self._check(number, is_record=is_record)
        return value

    def _check(self, number: float, *, is_record: bool) -> None:
        if not isfinite(number):
            # JSON, and so the store, has no NaN and no infinity.
            advice = self.way_out or "choose another"
            raise InvalidInput(f"{self.name} must be a finite number", number, advice)
        if not self._is_allowed(number):
            raise InvalidInput(f"{self.name} must be {self._rule}", number, self._advice(number))
        limit = self.most_computed
        if limit is not None and number > limit and not is_record:
            raise InvalidInput(f"{self.name} must be at most {limit}", number, "choose less")

    def _is_allowed(self, number: float) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    @property
    def _rule(self) -> str:
        limits = {
            "at least": self.least,
            "above": self.above,
            "at most": self.most,
            "below": self.below,
        }
        parts = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
        if parts == ["above 0"]:
            return "a positive number"
        unit = self.unit.removesuffix("s") if parts and parts[-1].endswith(" 1") else self.unit
        return " ".join((" and ".join(parts), unit)).rstrip()

    def _advice(self, number: float) -> str:
        if self.way_out:
            return self.way_out
        if self.least is not None and number < self.least:
            return f"choose {self.least} or more"
        return "choose more" if self.above is not None and number <= self.above else "choose less"


@dataclass(frozen=True, slots=True)
class SettingField:
    """A field of a model that carries a `Setting`.

    Attributes:
        default: the field's default; None if it has none.
        choices: the allowed values, where they are few.
        is_optional: whether None is allowed.
    """

    name: str
    setting: Setting
    type: FieldType
    default: Any
    choices: tuple[Any, ...]
    is_optional: bool

    @property
    def start(self) -> Any:
        """Initial value of the widget."""
        return self.setting.usual if self.default is None else self.default

    def title(self, choice: Any) -> str:
        """The title of one of the choices."""
        return self.setting.choices.get(choice, str(choice))

    @property
    def in_mib(self) -> bool:
        """Whether the command line takes MiB for a field in bytes."""
        return self.setting.unit == "bytes"

    @property
    def option(self) -> str:
        """The field's name on the command line, with the unit."""
        return f"{self.name.removesuffix('_bytes')}_mib" if self.in_mib else self.name

    @property
    def flag(self) -> str:
        """The flag that sets the field; for a switch with an `off_flag`, that flag."""
        return self.setting.off_flag or f"--{self.option.replace('_', '-')}"

    def words(self, value: Any) -> list[str]:
        """The command-line arguments that give the field this (JSON) value."""
        if self.type == "switch":
            turns_off = not value and not self.setting.off_flag
            return [f"--no-{self.flag.removeprefix('--')}" if turns_off else self.flag]
        if self.type == "ranks" and isinstance(value, int):
            return [ONE_RANK, str(value)]
        if isinstance(value, list | tuple):
            return [self.flag, ",".join(map(str, value))]
        # Dividing by a power of two is exact.
        return [self.flag, repr(value / MIB) if self.in_mib else str(value)]


@lru_cache(maxsize=256)
def setting_fields(model: type[BaseModel]) -> Mapping[str, SettingField]:
    """The fields of a model that carry a `Setting`, by name, in the order of declaration."""
    found: dict[str, SettingField] = {}
    for name, info in model.model_fields.items():
        setting = next((part for part in info.metadata if isinstance(part, Setting)), None)
        if setting is None:
            continue
        options = _options(info.annotation)
        default = None if info.default is PydanticUndefined else info.default
        found[name] = SettingField(
            name,
            setting,
            _type_of(options),
            default,
            tuple(choice for option in options for choice in _choices(option)),
            type(None) in options,
        )
    return types.MappingProxyType(found)


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union type."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for part in get_args(annotation) for option in _options(part))
    return (annotation,)


def _choices(option: Any) -> tuple[Any, ...]:
    return get_args(option) if get_origin(option) is Literal else ()


_TYPES: tuple[tuple[FieldType, Callable[[set[Any]], bool]], ...] = (
    ("switch", lambda plain: plain == {bool}),
    ("ranks", lambda plain: int in plain and tuple in plain),
    ("layers", lambda plain: plain == {int, str}),
    ("choice", lambda plain: plain == {Literal}),
    ("whole", lambda plain: plain == {int}),
    ("number", lambda plain: float in plain and plain <= {int, float}),
    ("text", lambda plain: plain == {str}),
)


def _type_of(options: tuple[Any, ...]) -> FieldType:
    plain = {get_origin(option) or option for option in options} - {type(None)}
    for name, fits in _TYPES:
        if fits(plain):
            return name
    raise TypeError(f"no widget and no flag supports a setting of type {options}")
