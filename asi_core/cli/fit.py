"""`fit`: what can be trained in so much memory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asi_core.cli.flags import (
    SIZE_FIELDS,
    START_FIELDS,
    add_json_flag,
    add_run_flags,
    in_bytes,
    layers,
    words,
)
from asi_core.cli.options import Commands, run_spec
from asi_core.errors import InvalidInput
from asi_core.methods import REFERENCE_KIND, Method, method_class
from asi_core.training.reproduce import in_words
from asi_core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from asi_core.training.fit_result import Fitting

_MOST_LAYERS = 4
_GIGA = 10**9


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("fit", help="what can be trained in so much memory")
    fields = (*SIZE_FIELDS, "seed", "apply_early", "optimizer", "momentum", "layout")
    add_run_flags(parser, ("model", "dataset", *fields, *START_FIELDS))
    add = parser.add_argument
    add(
        "--budget-mib",
        type=float,
        required=True,
        metavar="MIB",
        help="working memory of the "
        "device, 1 MiB = 1.05 MB: what the frozen forward pass and the step need at once must fit "
        "into it",
    )
    add(
        "--layers",
        type=layers,
        default=_MOST_LAYERS,
        metavar="N",
        help="the most that are trained: so many of the last layers, all, or names and patterns; "
        f"each that stays frozen counts as an error (default {_MOST_LAYERS})",
    )
    add("--least-layers", type=int, default=1, metavar="N", help="train at least so many")
    add(
        "--methods",
        type=words,
        metavar="M,...",
        help="methods to choose from; by default all whose gradient error can be known",
    )
    add(
        "--frozen-in",
        choices=("flash", "memory"),
        default="flash",
        help="where frozen weights lie: in flash they take no working memory (default flash)",
    )
    add(
        "--speed",
        type=float,
        metavar="GMACS",
        help="speed of the device, billions of multiply-accumulates per second; without it a step "
        "is timed on this machine",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the setting with the least gradient error under the budget."""
    budget = in_bytes(options.budget_mib)
    if options.speed is not None and not options.speed > 0:
        raise InvalidInput("the speed must be above 0", options.speed, "try 1")
    spec = run_spec(options, method={"kind": REFERENCE_KIND})
    from asi_core.training.fitting import fit

    found = fit(
        spec,
        budget,
        least_layers=options.least_layers,
        methods=None if options.methods is None else _methods(options.methods),
        frozen_in_flash=options.frozen_in == "flash",
        macs_per_second=None if options.speed is None else options.speed * _GIGA,
    )
    if options.json:
        print(json.dumps(found.as_dict()))
    else:
        _print(found)
    return 0


def _methods(kinds: Sequence[str]) -> list[type[Method]]:
    return [method_class(kind) for kind in kinds]


def _print(found: Fitting) -> None:
    total, budget = format_bytes(found.total_bytes), format_bytes(found.budget_bytes)
    if not found.fits:
        print(f"nothing fits into {budget}; the least that was found needs {total}")
    else:
        print(f"{total} of {budget} are needed at once, by formula")
    print(f"  {in_words(found.setting.spec)}")
    for name, ranks in (found.setting.ranks or {}).items():
        print(f"  {name}: ranks {' x '.join(map(str, ranks))}")
    print("  at the worst moment:")
    for use, nbytes in found.as_dict()["breakdown"].items():
        print(f"  {use:30} {format_bytes(nbytes):>10}")
    if found.frozen_in_flash:
        flash = format_bytes(found.setting.need.frozen_weights)
        print(f"  besides, {flash} of frozen weights lie in flash")
    if found.setting.gradient_error is not None:
        error = _percent(found.setting.gradient_error)
        print(f"{error} of the gradient of all layers that may be trained is lost")
    if found.step_seconds is not None:
        how = "measured on this machine" if found.is_measured else "at the stated speed"
        print(f"one step takes {format_seconds(found.step_seconds)}, {how}")
    if found.advice:
        print(found.advice)
    if found.fits:
        print(f"train it: {found.as_dict()['command']}")
    if found.larger is not None:
        device, setting = found.larger
        print(
            f"the next larger device, {device.name} with {format_bytes(device.budget_bytes)}, "
            f"would lose {_percent(setting.gradient_error or 0.0)}: {in_words(setting.spec)}"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
