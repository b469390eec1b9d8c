"""The command line: what the dashboard does, without a browser."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.methods import METHOD_ADAPTER, METHODS, Method
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, format_bytes, format_count, format_seconds

_USAGE_ERROR, _RUN_FAILED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if a run failed on its way; 2, with one line on stderr, if what was asked cannot be.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (AsiError, ValidationError) as error:
        print(one_sentence(error), file=sys.stderr)
        return _USAGE_ERROR


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        print(f"{message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(_USAGE_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m asi_core", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, parser_class=_Parser)
    estimate = commands.add_parser("estimate", help="bytes and multiplies by formula")
    _add_common(estimate)
    estimate.add_argument("--convention", choices=("paper", "exact"), default="exact")
    estimate.set_defaults(command=_estimate)
    poster = commands.add_parser("poster", help="the poster's table, printed against computed")
    poster.add_argument("--convention", choices=("paper", "exact"), default="paper")
    poster.add_argument("--json", action="store_true", help="print JSON")
    poster.set_defaults(command=_poster)
    measure = commands.add_parser("measure", help="one real training step: bytes and seconds")
    _add_common(measure)
    measure.add_argument("--dataset", default="fashion_mnist_small")
    measure.add_argument("--seed", type=int, default=0)
    _add_start(measure)
    measure.set_defaults(command=_measure)
    plan = commands.add_parser("plan", help="the best ranks under a memory budget")
    plan.add_argument("--model", default="efficientnet_lite0")
    plan.add_argument("--dataset", default="fashion_mnist_small")
    plan.add_argument("--layers", type=_layers, default=4, metavar="K|all")
    plan.add_argument("--budget-mib", type=float, required=True, metavar="M")
    plan.add_argument("--batch-size", type=int, default=64)
    plan.add_argument("--image-size", type=int, default=96, help="pixels")
    plan.add_argument("--batches", type=int, default=2, help="calibration batches")
    plan.add_argument("--seed", type=int, default=0)
    plan.add_argument("--json", action="store_true", help="print JSON")
    _add_start(plan)
    plan.set_defaults(command=_plan)
    train = commands.add_parser("train", help="fine-tune, and keep the run in the store")
    _add_common(train)
    _add_recipe(train)
    train.set_defaults(command=_train)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--method", default="asi", help=", ".join(METHODS))
    parser.add_argument("--layers", type=_layers, default=4, metavar="K|all")
    parser.add_argument("--rank", type=int, help="one rank for all modes")
    parser.add_argument("--ranks", type=_ranks, metavar="B,C,H,W", help="one rank a mode")
    parser.add_argument("--explained-variance", type=float, metavar="E", help="0 to 1")
    parser.add_argument("--budget-mib", type=float, metavar="M", help="plan ASI's ranks under it")
    parser.add_argument("--patch", type=int, metavar="R", help="of the gradient filter")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=96, help="pixels")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default="fashion_mnist_small")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--momentum", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--final-rate", type=float, help="share of the learning rate at the end")
    parser.add_argument("--clip-norm", type=float)
    _add_start(parser)
    parser.add_argument("--train-norm", action="store_true", default=None)
    parser.add_argument("--evaluate-every", type=int, metavar="STEPS")
    parser.add_argument("--probe-every", type=int, metavar="STEPS")


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--random-weights",
        dest="pretrained",
        action="store_false",
        default=None,
        help="start from random weights instead of pretrained ones",
    )
    parser.add_argument(
        "--lean",
        action=argparse.BooleanOptionalAction,
        help="keep of normalisations and activations only what their gradients need",
    )


_START = ("pretrained", "lean")
_WHERE = ("model", "dataset", "layers", "batch_size", "image_size", "seed")
_WHAT = (*_WHERE, "steps")
_RECIPE = (
    *_START,
    "learning_rate",
    "momentum",
    "weight_decay",
    "final_rate",
    "clip_norm",
    "train_norm",
    "evaluate_every",
    "probe_every",
)


def _method_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The method's fields as given; what was not given is left to its defaults."""
    if options.method not in METHODS:
        raise InvalidInput(
            "method must be a known one", repr(options.method), f"choose {', '.join(METHODS)}"
        )
    if options.rank is not None and options.ranks is not None:
        raise InvalidInput("ranks must be given once", "--rank and --ranks", "drop one of them")
    given = {
        "ranks": options.ranks if options.rank is None else options.rank,
        "explained_variance": options.explained_variance,
        "budget_bytes": _budget_bytes(options.budget_mib),
        "patch": options.patch,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    unknown = sorted(set(kept) - set(METHODS[options.method].model_fields))
    if unknown:
        raise InvalidInput(
            f"{options.method} has no such setting",
            ", ".join(unknown),
            "drop it, or change --method",
        )
    return {"kind": options.method, **kept}


def _estimate(options: argparse.Namespace) -> int:
    from asi_core.costs.estimate import estimate

    method: Method = METHOD_ADAPTER.validate_python(_method_settings(options))
    cost = estimate(
        options.model,
        method,
        layers=options.layers,
        batch_size=options.batch_size,
        image_size=options.image_size,
        convention=options.convention,
    )
    result = {
        "model": options.model,
        "method": method.model_dump(mode="json"),
        "convention": options.convention,
        "activation_bytes": cost.activation_bytes,
        "macs": cost.macs.as_dict(),
        "layers": [
            {
                "name": layer.shape.name,
                "input_shape": layer.shape.input_shape,
                "output_shape": layer.shape.output_shape,
                "ranks": layer.ranks,
                "activation_bytes": layer.activation_bytes,
                "macs": layer.macs.as_dict(),
            }
            for layer in cost.layers
        ],
    }
    if options.json:
        print(json.dumps(result))
        return 0
    for layer in cost.layers:
        _print_cost(layer.shape.name, layer.activation_bytes, layer.macs.total)
    _print_cost(f"total ({options.convention})", cost.activation_bytes, cost.macs.total)
    return 0


def _print_cost(name: str, size: int, macs: int) -> None:
    print(f"{name:32} {format_bytes(size):>12} {format_count(macs, 'MACs'):>14}")


def _poster(options: argparse.Namespace) -> int:
    from asi_core.poster import poster_facts, poster_rows

    rows = poster_rows(options.convention)
    if options.json:
        facts = {key: value for key, value in poster_facts().items() if key != "rows"}
        cells = [row.as_dict() for row in rows]
        print(json.dumps({**facts, "convention": options.convention, "rows": cells}))
        return 0
    print(f"{'':46}{'activation memory, MiB':^34}{'cost, 1e9 MACs a step':^34}")
    for row in rows:
        name = f"{row.model:14}{row.method:20}{row.layers:>4} layers"
        print(f"{name:46}{row.memory.text():34}{row.cost.text():34}")
    for note in dict.fromkeys(c.note for row in rows for c in (row.memory, row.cost) if c.note):
        print(f"- {note}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    spec = RunSpec.model_validate(
        {
            "method": _method_settings(options),
            "steps": 1,
            **_given(options, *_WHERE, *_START),
        }
    )
    from asi_core.settings import read_settings
    from asi_core.training.features import FeaturePool
    from asi_core.training.measuring import measure, with_weights_at_hand

    if options.pretrained is None:
        spec = with_weights_at_hand(spec)
    result = measure(spec, FeaturePool(read_settings().feature_bytes)).as_dict()
    if options.json:
        print(json.dumps(result))
        return 0
    for layer in result["layers"]:
        formula, measured = (format_bytes(layer[f"{k}_bytes"]) for k in ("formula", "measured"))
        times = (format_seconds(layer[f"{k}_seconds"]) for k in ("forward", "backward"))
        forward, backward = times
        print(
            f"{layer['name']:32} formula {formula:>10}, measured {measured:>10}, "
            f"forward {forward}, backward {backward}"
        )
    saved = result["saved_bytes"]
    print(f"{spec.model_label}, batch {spec.batch_size}, {spec.image_size} px")
    for category, size in saved["by_category"].items():
        print(f"{category:32} {format_bytes(size):>10}")
    print(f"{'saved for backward':32} {format_bytes(saved['total']):>10}, by two meters")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from asi_core.planning import plan

    budget = _budget_bytes(options.budget_mib)
    assert budget is not None
    spec = RunSpec.model_validate(
        {
            "method": {"kind": "asi", "budget_bytes": budget},
            **_given(options, *_WHERE, *_START),
        }
    )
    if options.batches < 1:
        raise InvalidInput("calibration batches must be at least 1", options.batches, "choose 2")
    from asi_core.settings import read_settings
    from asi_core.training.calibration import calibrate
    from asi_core.training.features import FeaturePool

    pool = FeaturePool(read_settings().feature_bytes)
    made = plan(calibrate(spec, pool, batches=options.batches), budget)
    if options.json:
        print(json.dumps(made.as_dict()))
        return 0
    for name, candidate in made.layers:
        ranks = " x ".join(map(str, candidate.ranks))
        size, error = format_bytes(candidate.activation_bytes), candidate.gradient_error
        print(f"{name:32} ranks {ranks:22} {size:>12}   gradient error {error:.4g}")
    kept, allowed = format_bytes(made.total_bytes), format_bytes(budget)
    print(f"total {kept} of {allowed}, gradient error {made.gradient_error:.4g}")
    return 0


def _budget_bytes(mib: float | None) -> int | None:
    if mib is not None and not 0 < mib < float("inf"):
        raise InvalidInput("the budget must be a positive number of MiB", mib, "try 1")
    return None if mib is None else int(mib * MIB)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options called `names` that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _train(options: argparse.Namespace) -> int:
    spec = RunSpec.model_validate(
        {"method": _method_settings(options), **_given(options, *_WHAT, *_RECIPE)}
    )
    from asi_core.runs.service import request_runs
    from asi_core.runs.worker import execute, open_store
    from asi_core.settings import read_settings

    url = read_settings().database_url
    store = open_store(url)
    (queued,) = request_runs(store, [spec], owner="command line")
    execute(queued.id, url)
    return _report_run(queued.id, options.json)


def _report_run(run_id: str, as_json: bool) -> int:
    from asi_core.runs.worker import open_store
    from asi_core.settings import read_settings

    store = open_store(read_settings().database_url)
    run = store.run(run_id)
    assert run is not None
    if run.status == "failed":
        print(run.error, file=sys.stderr)
        return _RUN_FAILED
    summary = run.summary or {}
    if as_json:
        kinds = ("prepared", "step", "evaluation")
        history = [e.model_dump(mode="json") for kind in kinds for e in store.events(run_id, kind)]
        result = {
            "run_id": run.id,
            "status": run.status,
            "spec": run.spec.model_dump(mode="json"),
            **summary,
            "history": history,
        }
        print(json.dumps(result))
        return 0
    print(f"run {run.id}: {run.status}")
    print(f"test accuracy      {summary['test_accuracy']:.4f}")
    print(f"activation memory  {format_bytes(summary['activation_bytes'])} by formula")
    print(f"saved for backward {format_bytes(summary['measured_saved_bytes'])} measured")
    print(f"step               {format_seconds(summary['seconds']['step_median'])} (median)")
    return 0


def _layers(text: str) -> int | str:
    return text if text == "all" else int(text)


def _ranks(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))
