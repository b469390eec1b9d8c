"""`sweep`: fine-tune with many settings, as one comparison."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from asi_core.cli.flags import (
    START_FIELDS,
    add_axes,
    add_json_flag,
    add_run_flags,
    given_settings,
    words,
)
from asi_core.cli.options import Commands, find_damage, run_spec
from asi_core.cli.terminal import say
from asi_core.fields import setting_fields
from asi_core.methods import METHODS, Vanilla
from asi_core.training.spec import RunSpec
from asi_core.units import bytes_by_formula

if TYPE_CHECKING:
    from asi_core.results.outcomes import Outcome
    from asi_core.runs.records import RunRecord
    from asi_core.runs.submit.forecast import Forecast
    from asi_core.runs.submit.sweeps import Sweep

_RUN_FAILED = 1


# Fields that have one value in a sweep. Several values of the others make several runs.
_SAME = ("model", "dataset", *START_FIELDS, "train_norm")
_AXES = tuple(name for name in setting_fields(RunSpec) if name not in _SAME)


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("sweep", help="fine-tune with many settings, as one comparison")
    parser.add_argument("--methods", type=words, metavar="KIND,...", help=", ".join(METHODS))
    add_axes(parser, _AXES)
    parser.add_argument(
        "--references",
        action=argparse.BooleanOptionalAction,
        help="also run vanilla and the linear probe (the default)",
    )
    add_run_flags(parser, _SAME)
    parser.add_argument("--dry-run", action="store_true", help="print the forecast only")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute all runs, one after the other, and print their results."""
    sweep = _sweep(options)
    from asi_core.cli.stores import opened
    from asi_core.runs.store.library import RunLibrary
    from asi_core.runs.submit.forecast import forecast

    cost = forecast(sweep.specs(), opened(RunLibrary).runs())
    if options.dry_run:
        print(json.dumps(_cost_as_dict(sweep, cost)) if options.json else _message(sweep, cost))
        return 0
    say(_message(sweep, cost))
    ended = _execute(sweep)
    _print(ended, sweep, cost, as_json=options.json)
    failed = [run for run in ended if run.status == "failed"]
    for run in failed:
        say(f"run {run.id}: {run.error}")
    return _RUN_FAILED if failed else 0


def _sweep(options: argparse.Namespace) -> Sweep:
    from asi_core.runs.submit.sweeps import Sweep

    names = ("methods", "layers", "references")
    chosen = {name: getattr(options, name) for name in names}
    chosen["seeds"] = options.seed
    several = {name: getattr(options, name) for name in _AXES if name not in ("layers", "seed")}
    axes = {name: values for name, values in several.items() if values is not None}
    same = {name: values[0] for name, values in axes.items() if len(values) == 1}
    varied = {name: values for name, values in axes.items() if len(values) > 1}
    given = {name: value for name, value in chosen.items() if value is not None}
    base = argparse.Namespace(**{name: getattr(options, name) for name in _SAME})
    return Sweep.model_validate(
        {
            **given,
            "settings": {**given_settings(options), **varied},
            "base": run_spec(base, method=Vanilla(), **same),
        }
    )


def _execute(sweep: Sweep) -> list[RunRecord]:
    from asi_core.cli.executing import OWNER, execute_all
    from asi_core.results.outcomes import single_outcomes
    from asi_core.runs.submit.sweeps import request_sweep

    find_damage([sweep.base])
    count = len(sweep.specs())

    def message(number: int, ended: RunRecord) -> None:
        (outcome,) = single_outcomes([ended])
        say(f"{number} of {count}: {outcome.label}: {ended.status}")

    _, runs = execute_all(lambda store: request_sweep(store, sweep, owner=OWNER), message)
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
    kept = bytes_by_formula(outcome.mean("activation_bytes"))
    return f"{outcome.label:40} accuracy {accuracy.mean:.4f}{spread} (n = {accuracy.count}), {kept}"


def _message(sweep: Sweep, cost: Forecast) -> str:
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
    measures: dict[str, dict[str, Any]] = {
        name: {"mean": spread.mean, "deviation": spread.deviation, "seeds": spread.count}
        for name, spread in outcome.measures.items()
    }
    interval = outcome.accuracy_interval
    if interval is not None:
        measures["accuracy"]["interval"] = [interval.low, interval.high]
    return {"label": outcome.label, "kind": outcome.kind, **measures}
