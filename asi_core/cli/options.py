"""What commands share: parser, flags, and the settings and runs that flags stand for."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeAlias, TypeVar

from asi_core.cli.terminal import USAGE_ERROR, say
from asi_core.datasets import check_dataset, check_images
from asi_core.errors import InvalidInput, shortened
from asi_core.methods import METHODS, USUAL_EXPLAINED_VARIANCE
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.units import MIB

Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        say(f"{message} (see {self.prog} --help)")
        raise SystemExit(USAGE_ERROR)


# Of what somebody has written, in a message about it.
_LONGEST_PART = 80

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def layers(text: str) -> int | str:
    """How many of the last layers, or all."""
    return text if text == "all" else _numbers(text, int, "a whole number, or all")[0]


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    return _numbers(text, int, "whole numbers with commas between them")


def shares(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    return _numbers(text, float, "numbers with commas between them")


def ranks(text: str) -> tuple[int, ...]:
    """A list of ranks."""
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


# What is used unless a method is given.
_METHOD = "asi"

# Flags of several commands. One that is called like a field of `RunSpec` sets that field.
_FLAGS: dict[str, dict[str, Any]] = {
    "--model": {"default": RUN_DEFAULTS["model"]},
    "--dataset": {"default": RUN_DEFAULTS["dataset"]},
    "--method": {"help": f"{', '.join(METHODS)}; {_METHOD} if layers are trained"},
    "--layers": {"type": layers, "default": RUN_DEFAULTS["layers"], "metavar": "K|all"},
    "--rank": {"type": int, "help": "one rank for all modes"},
    "--ranks": {"type": ranks, "metavar": "B,C,H,W", "help": "one rank a mode"},
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
_SOURCES_OF_RANKS = {"ranks", "explained_variance", "budget_bytes"}
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


def method_settings(options: argparse.Namespace, *, from_images: bool = False) -> dict[str, Any]:
    """The method's fields as given; what was not given is left to its defaults.

    Where no layer is trained and nothing is said of a method, it is vanilla, as all are the same.

    Args:
        from_images: whether ranks can be found from images, and are unless others are given.

    Raises:
        InvalidInput: if there is no such method, or it has no such setting.
    """
    given = {name: value for name, value in _settings(options).items() if value is not None}
    kind = options.method or (_METHOD if given or options.layers != 0 else "vanilla")
    if kind not in METHODS:
        raise InvalidInput("method must be a known one", repr(kind), f"choose {', '.join(METHODS)}")
    fields = METHODS[kind].model_fields
    if unknown := sorted(set(given) - set(fields)):
        raise InvalidInput(
            f"{kind} has no such setting", ", ".join(unknown), "drop it, or change --method"
        )
    if from_images and "explained_variance" in fields and not given.keys() & _SOURCES_OF_RANKS:
        given["explained_variance"] = USUAL_EXPLAINED_VARIANCE
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
    if not 0 < mib * MIB < float("inf"):
        raise InvalidInput("the budget must be a positive number of MiB", mib, "try 1")
    return int(mib * MIB)
