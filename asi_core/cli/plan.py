"""`plan`: the best ranks under a memory budget."""

from __future__ import annotations

import argparse
import json

from asi_core.cli.flags import (
    SIZE_FIELDS,
    START_FIELDS,
    add_json_flag,
    add_run_flags,
    add_setting_flag,
    in_bytes,
)
from asi_core.cli.options import Commands, run_spec
from asi_core.cli.terminal import name_width
from asi_core.errors import InvalidInput
from asi_core.methods import ASI
from asi_core.planning import LayerTime, Objective, Plan, plan
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes

# Far more than the ranks depend on.
_MOST_BATCHES = 1000
_TIMING_ROUNDS = 7


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("plan", help="the best ranks under a memory budget")
    add_run_flags(parser, ("model", "dataset", "layers", *SIZE_FIELDS, "seed", *START_FIELDS))
    parser.add_argument("--budget-mib", type=float, required=True, metavar="MIB")
    add_setting_flag(parser, "bits")
    parser.add_argument(
        "--objective",
        choices=("error", "time"),
        default="error",
        help="what is least under the budget: the gradient error, or the time of compressions and "
        "weight gradients, measured on this machine",
    )
    parser.add_argument("--batches", type=int, default=2, help="calibration batches")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the ranks with the least gradient error or time, layer by layer."""
    budget = in_bytes(options.budget_mib)
    own = {} if options.bits is None else {"bits": options.bits}
    spec = run_spec(options, method={"kind": ASI.class_kind(), "budget_bytes": budget, **own})
    if not 1 <= options.batches <= _MOST_BATCHES:
        rule = f"calibration batches must be 1 to {_MOST_BATCHES}"
        raise InvalidInput(rule, options.batches, "choose 2")
    made = _made(spec, options.batches, budget, options.objective)
    if options.json:
        print(json.dumps(made.as_dict()))
    else:
        _print_plan(made)
    return 0


def _made(spec: RunSpec, batches: int, budget: int, objective: Objective) -> Plan:
    from asi_core.training.calibration import calibrate
    from asi_core.training.features import installed_pool

    pool = installed_pool()
    rounds = _TIMING_ROUNDS if objective == "time" else 0
    profiles = calibrate(spec, pool, batches=batches, timing_rounds=rounds)
    return plan(profiles, budget, objective=objective)


def _print_plan(made: Plan) -> None:
    width = name_width(name for name, _ in made.layers)
    for name, candidate in made.layers:
        ranks = " x ".join(map(str, candidate.ranks))
        size, error = format_bytes(candidate.activation_bytes), candidate.gradient_error
        print(f"{name:{width}} ranks {ranks:22} {size:>12}   gradient error {error:.4g}")
    for layer in made.times:
        print(f"{layer.name:{width}} {_in_words(layer)}")
    kept, allowed = format_bytes(made.total_bytes), format_bytes(made.budget_bytes)
    print(f"total {kept} of {allowed}, gradient error {made.gradient_error:.4g}")


def _in_words(layer: LayerTime) -> str:
    chosen, exact = 1000 * layer.chosen, 1000 * layer.exact
    return f"{chosen:.2f} ms, exact {exact:.2f} ms; {layer.reason}"
