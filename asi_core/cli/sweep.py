"""`sweep`: fine-tune under many settings, kept as one comparison."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from asi_core.cli.options import (
    SIZE_FLAGS,
    START_FLAGS,
    Commands,
    add_flags,
    find_damage,
    layers,
    numbers,
    ranks,
    run_spec,
    shares,
)
from asi_core.cli.terminal import say
from asi_core.units import format_bytes

if TYPE_CHECKING:
    from asi_core.results.outcomes import Outcome
    from asi_core.runs.records import RunRecord
    from asi_core.runs.submit.forecast import Forecast
    from asi_core.runs.submit.sweeps import Sweep

_RUN_FAILED = 1


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _layers(text: str) -> tuple[int | str, ...]:
    return tuple(layers(part) for part in _words(text))


# Flags that take several values, what reads them, and the field of `Sweep` that they fill.
_AXES: dict[str, dict[str, Any]] = {
    "--methods": {"type": _words, "metavar": "KIND,..."},
    "--rank": {"type": numbers, "metavar": "R,...", "help": "each one rank for all modes"},
    "--ranks": {
        "type": ranks,
        "action": "append",
        "metavar": "B,C,H,W",
        "help": "one rank a mode; may be given several times",
    },
    "--explained-variances": {"type": shares, "metavar": "E,...", "help": "each 0 to 1"},
    "--patches": {"type": numbers, "metavar": "R,...", "help": "of the gradient filter"},
    "--layers": {"type": _layers, "metavar": "K|all,..."},
    "--seeds": {"type": numbers, "metavar": "S,..."},
}


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "sweep", help="fine-tune under many settings, kept as one comparison"
    )
    for flag, how in _AXES.items():
        parser.add_argument(flag, **how)
    parser.add_argument(
        "--references",
        action=argparse.BooleanOptionalAction,
        help="run vanilla and the classifier alone too (the default)",
    )
    add_flags(parser, "--model", "--dataset", *SIZE_FLAGS, "--steps")
    for flag in ("--learning-rate", "--momentum", "--weight-decay", "--clip-norm"):
        parser.add_argument(flag, type=float)
    add_flags(parser, *START_FLAGS)
    parser.add_argument("--dry-run", action="store_true", help="say the cost, and run nothing")
    add_flags(parser, "--json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run all to the end, one after the other, and print what became of them."""
    sweep = _sweep(options)
    from asi_core.cli.stores import opened
    from asi_core.runs.store.library import RunLibrary
    from asi_core.runs.submit.forecast import forecast

    cost = forecast(sweep.specs(), opened(RunLibrary).runs())
    if options.dry_run:
        print(json.dumps(_cost_as_dict(sweep, cost)) if options.json else _told(sweep, cost))
        return 0
    say(_told(sweep, cost))
    ended = _execute(sweep)
    _print(ended, sweep, cost, as_json=options.json)
    failed = [run for run in ended if run.status == "failed"]
    for run in failed:
        say(f"run {run.id}: {run.error}")
    return _RUN_FAILED if failed else 0


def _sweep(options: argparse.Namespace) -> Sweep:
    from asi_core.runs.submit.sweeps import Sweep

    base = argparse.Namespace(**{**vars(options), "layers": None})
    names = ("methods", "explained_variances", "patches", "layers", "seeds", "references")
    asked = {name: getattr(options, name) for name in names}
    given_ranks = (*(options.rank or ()), *(options.ranks or ()))
    given = {name: value for name, value in asked.items() if value is not None}
    return Sweep.model_validate(
        {**given, "ranks": given_ranks, "base": run_spec(base, method={"kind": "vanilla"})}
    )


def _execute(sweep: Sweep) -> list[RunRecord]:
    from asi_core.cli.executing import OWNER, execute_all
    from asi_core.results.outcomes import single_outcomes
    from asi_core.runs.submit.sweeps import request_sweep

    find_damage([sweep.base])
    count = len(sweep.specs())

    def told(number: int, ended: RunRecord) -> None:
        (outcome,) = single_outcomes([ended])
        say(f"{number} of {count}: {outcome.label}: {ended.status}")

    _, runs = execute_all(lambda store: request_sweep(store, sweep, owner=OWNER), told)
    return runs


def _print(ended: list[RunRecord], sweep: Sweep, cost: Forecast, *, as_json: bool) -> None:
    from asi_core.results.outcomes import outcomes_by_seed

    outcomes = outcomes_by_seed(ended)
    if as_json:
        found = {
            **_cost_as_dict(sweep, cost),
            "comparison": ended[0].comparison,
            "runs": [_run_as_dict(run) for run in ended],
            "outcomes": [_outcome_as_dict(outcome) for outcome in outcomes],
        }
        print(json.dumps(found))
        return
    print(f"comparison {ended[0].comparison}")
    for outcome in outcomes:
        print(_line(outcome))


def _line(outcome: Outcome) -> str:
    accuracy = outcome.measures.get("accuracy")
    if accuracy is None:
        return f"{outcome.label:40} {outcome.runs[0].status}"
    spread = "" if accuracy.deviation is None else f" ± {accuracy.deviation:.4f}"
    kept = format_bytes(outcome.measures["activation_bytes"].mean)
    return (
        f"{outcome.label:40} accuracy {accuracy.mean:.4f}{spread} (n = {accuracy.count}), "
        f"{kept} by formula"
    )


def _told(sweep: Sweep, cost: Forecast) -> str:
    return f"{len(sweep.specs())} runs. {cost.sentence}"


def _cost_as_dict(sweep: Sweep, cost: Forecast) -> dict[str, Any]:
    return {
        "sweep": sweep.model_dump(mode="json"),
        "run_count": len(sweep.specs()),
        "forecast": {
            "seconds": cost.seconds if sum(cost.counts.values()) else None,
            "runs_by_source": {**cost.counts, "unknown": cost.unknown},
        },
    }


def _run_as_dict(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "status": run.status,
        "spec": run.spec.model_dump(mode="json"),
        "error": run.error,
        **(run.summary or {}),
    }


def _outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    measures = {
        name: {"mean": spread.mean, "deviation": spread.deviation, "seeds": spread.count}
        for name, spread in outcome.measures.items()
    }
    return {"label": outcome.label, "kind": outcome.kind, **measures}
