"""What commands share: parser, flags, and the settings and runs that flags stand for."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any, NoReturn, TypeAlias

from asi_core.datasets import check_dataset, check_images
from asi_core.errors import InvalidInput
from asi_core.methods import METHODS
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.units import MIB

USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        print(f"{message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def _layers(text: str) -> int | str:
    return text if text == "all" else int(text)


def _ranks(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


# Flags of several commands. One that is called like a field of `RunSpec` sets that field.
_FLAGS: dict[str, dict[str, Any]] = {
    "--model": {"default": RUN_DEFAULTS["model"]},
    "--dataset": {"default": RUN_DEFAULTS["dataset"]},
    "--method": {"default": "asi", "help": ", ".join(METHODS)},
    "--layers": {"type": _layers, "default": RUN_DEFAULTS["layers"], "metavar": "K|all"},
    "--rank": {"type": int, "help": "one rank for all modes"},
    "--ranks": {"type": _ranks, "metavar": "B,C,H,W", "help": "one rank a mode"},
    "--explained-variance": {"type": float, "metavar": "E", "help": "0 to 1"},
    "--budget-mib": {"type": float, "metavar": "M", "help": "plan ASI's ranks under it"},
    "--patch": {"type": int, "metavar": "R", "help": "of the gradient filter"},
    "--sequential": {
        "action": argparse.BooleanOptionalAction,
        "help": "ASI: iterate each mode on what the earlier ones have reduced (the default)",
    },
    "--refresh-every": {
        "type": int,
        "metavar": "N",
        "help": "ASI: iterate all but the batch's factor at every N-th step only",
    },
    "--bits": {
        "type": int,
        "metavar": "32|16|8",
        "help": "ASI: of a kept number (16: of the factors)",
    },
    "--solver": {"metavar": "gram|svd", "help": "HOSVD: how factors are found"},
    "--batch-size": {"type": int, "default": RUN_DEFAULTS["batch_size"]},
    "--image-size": {"type": int, "default": RUN_DEFAULTS["image_size"], "help": "pixels"},
    "--steps": {"type": int, "default": RUN_DEFAULTS["steps"]},
    "--seed": {"type": int, "default": RUN_DEFAULTS["seed"]},
    "--json": {"action": "store_true", "help": "print JSON"},
    "--random-weights": {
        "dest": "pretrained",
        "action": "store_false",
        "default": None,
        "help": "start from random weights instead of pretrained ones",
    },
    "--skip-damaged": {
        "action": "store_true",
        "default": None,
        "help": "leave out images of your own that cannot be read, and count them",
    },
    "--lean": {
        "action": argparse.BooleanOptionalAction,
        "help": "keep of normalisations and activations only what their gradients need",
    },
}
SIZE_FLAGS = ("--batch-size", "--image-size")
START_FLAGS = ("--random-weights", "--lean", "--skip-damaged")
# Settings of methods that are called like the flag.
_OWN_SETTINGS = ("patch", "sequential", "refresh_every", "bits", "solver")
METHOD_FLAGS = (
    *("--method", "--rank", "--ranks", "--explained-variance", "--budget-mib"),
    *(f"--{name.replace('_', '-')}" for name in _OWN_SETTINGS),
)
STEP_FLAGS = ("--model", "--layers", *METHOD_FLAGS, *SIZE_FLAGS, "--json")


def add_flags(parser: Parser, *flags: str) -> None:
    """Let `parser` understand shared flags, in this order in its help."""
    for flag in flags:
        parser.add_argument(flag, **_FLAGS[flag])


def add_convention(parser: Parser, default: str) -> None:
    """Let `parser` understand how bytes and multiplies are counted."""
    parser.add_argument("--convention", choices=("paper", "exact"), default=default)


def run_spec(options: argparse.Namespace, **fields: Any) -> RunSpec:
    """The run asked for: `fields`, options called like a field, and defaults for all others.

    Raises:
        ValidationError: if a value is not allowed.
    """
    values = ((name, getattr(options, name, None)) for name in RunSpec.model_fields)
    given = {name: value for name, value in values if value is not None}
    return RunSpec.model_validate({**given, **fields})


def find_damage(specs: Iterable[RunSpec]) -> None:
    """Look at all images of some runs, so that what is damaged is told before anything is queued.

    Raises:
        As `check_dataset`, and Unavailable if images are damaged and not left out.
    """
    for name, skip in {(spec.dataset, spec.skip_damaged) for spec in specs}:
        deque(check_images(name), maxlen=0)
        check_dataset(name, skip).check_images(skip)


def method_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The method's fields as given; what was not given is left to its defaults.

    Raises:
        InvalidInput: if there is no such method, or it has no such setting.
    """
    kind = options.method
    if kind not in METHODS:
        raise InvalidInput("method must be a known one", repr(kind), f"choose {', '.join(METHODS)}")
    given = {name: value for name, value in _settings(options).items() if value is not None}
    unknown = sorted(set(given) - set(METHODS[kind].model_fields))
    if unknown:
        raise InvalidInput(
            f"{kind} has no such setting", ", ".join(unknown), "drop it, or change --method"
        )
    return {"kind": kind, **given}


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    if options.rank is not None and options.ranks is not None:
        raise InvalidInput("ranks must be given once", "--rank and --ranks", "drop one of them")
    budget = options.budget_mib
    return {
        "ranks": options.ranks if options.rank is None else options.rank,
        "explained_variance": options.explained_variance,
        "budget_bytes": None if budget is None else budget_bytes(budget),
        **{name: getattr(options, name) for name in _OWN_SETTINGS},
    }


def budget_bytes(mib: float) -> int:
    """A budget in whole bytes.

    Raises:
        InvalidInput: if it is not positive and finite.
    """
    if not 0 < mib < float("inf"):
        raise InvalidInput("the budget must be a positive number of MiB", mib, "try 1")
    return int(mib * MIB)
