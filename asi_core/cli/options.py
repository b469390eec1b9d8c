"""Shared by the commands: the parser, and building methods and runs from flags."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable
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
    kind = options.method or (USUAL_METHOD if given or options.layers != 0 else REFERENCE_KIND)
    method = method_class(kind)
    fields = setting_fields(method)
    if unknown := sorted(set(given) - set(fields)):
        raise InvalidInput(
            f"{kind} has no such setting", ", ".join(unknown), "drop it, or change --method"
        )
    if from_images and not given.keys() & set(method.alternatives):
        # One of the alternatives is required; take the first.
        given |= {name: fields[name].start for name in method.alternatives[:1]}
    return {"kind": kind, **given}
