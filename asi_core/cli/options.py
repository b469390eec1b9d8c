"""Shared by the commands: the parser, and building methods and runs from flags."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from asi_core.cli.flags import USUAL_METHOD, given_settings
from asi_core.cli.terminal import USAGE_ERROR, say
from asi_core.datasets import check_dataset, check_images
from asi_core.errors import InvalidInput
from asi_core.fields import setting_fields
from asi_core.methods import REFERENCE_KIND, method_class
from asi_core.training.spec import RunSpec


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all commands."""

    def error(self, message: str) -> NoReturn:
        say(f"{message} (see {self.prog} --help)")
        raise SystemExit(USAGE_ERROR)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_convention(parser: Parser, default: str) -> None:
    """Add --convention: how bytes and MACs are counted."""
    parser.add_argument("--convention", choices=("paper", "exact"), default=default)


def run_spec(options: argparse.Namespace, **fields: Any) -> RunSpec:
    """The requested run: `fields`, options named like a field, and defaults for all others.

    Raises:
        ValidationError: if a value is not allowed.
    """
    values = ((name, getattr(options, name, None)) for name in RunSpec.model_fields)
    given = {name: value for name, value in values if value is not None}
    return RunSpec.model_validate({**given, **fields})


def find_damage(specs: Iterable[RunSpec]) -> None:
    """Check all images of the runs, so that damage is reported before anything is queued.

    Raises:
        Unavailable: if images are damaged and not skipped.
        AsiError: as `check_dataset`.
    """
    for name, skip in {(spec.dataset, spec.skip_damaged) for spec in specs}:
        deque(check_images(name), maxlen=0)
        check_dataset(name, skip).check_images(skip)


def method_settings(options: argparse.Namespace, *, from_images: bool = False) -> dict[str, Any]:
    """The method's kind and the fields that were given; others keep their defaults.

    If no layer is trained and no method is given, it is vanilla, as all methods are then equal.

    Args:
        from_images: whether ranks can be found from images, which is then the default.

    Raises:
        InvalidInput: if the method does not exist or does not have the setting.
    """
    given = given_settings(options)
    kind = options.method or _usual_kind(options, given)
    (found,) = _divided(given, (kind,))
    alternatives = method_class(kind).alternatives
    if from_images and not given.keys() & set(alternatives):
        # One of the alternatives is required; take the first.
        fields = setting_fields(method_class(kind))
        found |= {name: fields[name].start for name in alternatives[:1]}
    return found


def settings_of_methods(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each method of `add_methods_flags`, with those of the given fields that it has.

    Raises:
        InvalidInput: if a method does not exist, or none of them has a setting that is given.
    """
    given = given_settings(options)
    kinds = options.methods or (_usual_kind(options, given),)
    return _divided(given, tuple(dict.fromkeys(kinds)))


def _usual_kind(options: argparse.Namespace, given: Mapping[str, Any]) -> str:
    return USUAL_METHOD if given or options.layers != 0 else REFERENCE_KIND


def _divided(given: Mapping[str, Any], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Of each kind, the settings that it has."""
    fields = {kind: setting_fields(method_class(kind)) for kind in kinds}
    if unknown := sorted(set(given).difference(*fields.values())):
        rule = "has no such setting" if len(kinds) == 1 else "have no such setting"
        raise InvalidInput(
            f"{' and '.join(kinds)} {rule}", ", ".join(unknown), "drop it, or change --method"
        )
    return [{"kind": k, **{n: v for n, v in given.items() if n in fields[k]}} for k in kinds]
