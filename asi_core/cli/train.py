"""`train`: fine-tune, and keep the run in the store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_core.cli.options import (
    START_FLAGS,
    STEP_FLAGS,
    Commands,
    add_flags,
    find_damage,
    method_settings,
    run_spec,
)
from asi_core.errors import InvalidInput
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from asi_core.runs.records import RunRecord
    from asi_core.runs.store import RunStore

_RUN_FAILED = 1


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("train", help="fine-tune, and keep the run in the store")
    add_flags(parser, *STEP_FLAGS, "--dataset")
    add_flags(parser, "--steps", "--seed")
    for flag in ("--learning-rate", "--momentum", "--weight-decay"):
        parser.add_argument(flag, type=float)
    parser.add_argument("--final-rate", type=float, help="share of the learning rate at the end")
    parser.add_argument("--clip-norm", type=float)
    add_flags(parser, *START_FLAGS)
    parser.add_argument("--train-norm", action="store_true", default=None)
    parser.add_argument("--evaluate-every", type=int, metavar="STEPS")
    parser.add_argument("--probe-every", type=int, metavar="STEPS")
    parser.add_argument(
        "--spec",
        metavar="FILE|JSON",
        help="the whole run as JSON, as a file or in place; other flags but --json are ignored",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run to the end, and print what became of it."""
    spec = requested_spec(options)
    from asi_core.runs.service import request_runs
    from asi_core.runs.worker import execute, open_store

    find_damage([spec])
    store = open_store(read_settings().database_url)
    (queued,) = request_runs(store, [spec], owner="command line")
    execute(queued.id, store.url)
    ended = store.run(queued.id)
    assert ended is not None
    if ended.status == "failed":
        print(ended.error, file=sys.stderr)
        return _RUN_FAILED
    if options.json:
        print(json.dumps(_as_dict(ended, store)))
    else:
        _print_run(ended)
    return 0


def requested_spec(options: argparse.Namespace) -> RunSpec:
    """The run asked for, from `--spec` or from flags.

    Raises:
        InvalidInput, ValidationError: if it is none.
    """
    if options.spec is None:
        return run_spec(options, method=method_settings(options))
    text = options.spec
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text()
        except OSError as error:
            raise InvalidInput(
                "--spec must be JSON or a readable file of it",
                f"{options.spec!r} ({error.strerror})",
                "check the path",
            ) from None
    return RunSpec.model_validate_json(text)


def _as_dict(ended: RunRecord, store: RunStore) -> dict[str, Any]:
    kinds = ("prepared", "step", "evaluation")
    return {
        "run_id": ended.id,
        "status": ended.status,
        "spec": ended.spec.model_dump(mode="json"),
        **(ended.summary or {}),
        "history": [
            e.model_dump(mode="json") for kind in kinds for e in store.events(ended.id, kind)
        ],
    }


def _print_run(ended: RunRecord) -> None:
    summary = ended.summary or {}
    print(f"run {ended.id}: {ended.status}")
    print(f"test accuracy      {summary['test_accuracy']:.4f}")
    if (balanced := summary.get("balanced_accuracy")) is not None:
        print(f"balanced accuracy  {balanced:.4f} (mean over classes, whose test images differ)")
    if left_out := (summary.get("images") or {}).get("left_out"):
        print(f"damaged images     {left_out} left out")
    print(f"activation memory  {format_bytes(summary['activation_bytes'])} by formula")
    print(f"saved for backward {format_bytes(summary['measured_saved_bytes'])} measured")
    print(f"step               {format_seconds(summary['seconds']['step_median'])} (median)")
