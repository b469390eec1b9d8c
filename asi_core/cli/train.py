"""`train`: fine-tune, and save the run in the store."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_core.cli.flags import add_json_flag, add_method_flags, add_run_flags
from asi_core.cli.options import Commands, find_damage, method_settings, run_spec
from asi_core.cli.terminal import say
from asi_core.errors import InvalidInput
from asi_core.fields import setting_fields
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, bytes_by_formula, format_bytes, format_seconds

if TYPE_CHECKING:
    from asi_core.runs.records import RunRecord
    from asi_core.runs.store.run_store import RunStore

RUN_FAILED = 1
# Bytes; a real specification has less than a thousand.
_LONGEST_SPEC = MIB


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("train", help="fine-tune, and save the run in the store")
    add_run_flags(parser, setting_fields(RunSpec))
    add_method_flags(parser)
    add_json_flag(parser)
    parser.add_argument(
        "--spec",
        metavar="FILE|JSON",
        help="the whole run as JSON text or a JSON file; all other flags except --json are ignored",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute the run, and print its result."""
    spec = requested_spec(options)
    spec.check_can_be_repeated()
    from asi_core.cli.executing import OWNER, execute_all
    from asi_core.runs.submit.service import request_runs

    find_damage([spec])
    store, (ended,) = execute_all(lambda store: request_runs(store, [spec], owner=OWNER))
    if ended.status != "completed":
        say(ended.error or f"run {ended.id} was {ended.status}: its measurements are kept.")
        return RUN_FAILED
    if options.json:
        print(json.dumps(as_dict(ended, store)))
    else:
        print_run(ended)
    return 0


def requested_spec(options: argparse.Namespace) -> RunSpec:
    """The requested run, from `--spec` or from flags.

    Raises:
        InvalidInput, ValidationError: if it is invalid.
    """
    if options.spec is None:
        return run_spec(options, method=method_settings(options, from_images=True))
    text = options.spec
    return RunSpec.model_validate_json(text if text.lstrip().startswith("{") else _read(text))


def _read(name: str) -> str:
    try:
        # Limited, as a device may have no end.
        with Path(name).open("rb") as file:
            content = file.read(_LONGEST_SPEC + 1)
        if len(content) > _LONGEST_SPEC:
            raise ValueError(f"more than {format_bytes(_LONGEST_SPEC)}")
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = getattr(error, "strerror", None) or reason
        raise InvalidInput(
            "--spec must be JSON or a readable file of it", f"{name!r} ({reason})", "check the path"
        ) from None


def as_dict(ended: RunRecord, store: RunStore) -> dict[str, Any]:
    """A run with its curve, as JSON."""
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


def print_run(ended: RunRecord) -> None:
    """Print a completed run's result."""
    summary = ended.summary or {}
    print(f"run {ended.id}: {ended.status}")
    print(f"test accuracy      {summary['test_accuracy']:.4f}")
    if (balanced := summary.get("balanced_accuracy")) is not None:
        print(f"balanced accuracy  {balanced:.4f} (mean over classes, whose test images differ)")
    if left_out := (summary.get("images") or {}).get("left_out"):
        print(f"damaged images     {left_out} left out")
    print(f"activation memory  {bytes_by_formula(summary['activation_bytes'])}")
    print(f"saved for backward {format_bytes(summary['measured_saved_bytes'])} measured")
    if (peak := summary.get("peak_bytes")) is not None:
        print(f"peak of a step     {format_bytes(peak)} measured")
    print(f"step               {format_seconds(summary['seconds']['step_median'])} (median)")
