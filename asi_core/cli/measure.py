"""`measure`: memory and time of one real training step."""

from __future__ import annotations

import argparse
import json
from typing import Any

from asi_core.cli.flags import (
    MEMORY_FIELDS,
    START_FIELDS,
    STEP_FIELDS,
    add_json_flag,
    add_method_flags,
    add_run_flags,
)
from asi_core.cli.options import Commands, method_settings, run_spec
from asi_core.costs.compared import COMPARED_TITLES
from asi_core.costs.timeline.records import Timeline
from asi_core.errors import InvalidInput
from asi_core.training.spec import RunSpec
from asi_core.units import by_formula, format_bytes, format_seconds


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("measure", help="memory and time of one training step")
    add_run_flags(parser, (*STEP_FIELDS, "dataset", "seed", *MEMORY_FIELDS, *START_FIELDS))
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="the memory of one whole step over time: its peak, when it is reached and what it "
        "consists of",
    )
    parser.add_argument(
        "--needs",
        action="store_true",
        help="what training needs at once, in a whole step: the frozen forward pass of each image, "
        "one by one, and then the step",
    )
    add_method_flags(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the memory and the time of a step."""
    spec = run_spec(options, method=method_settings(options, from_images=True), steps=1)
    from asi_core.training.features import installed_pool
    from asi_core.training.measuring import measure_and_compare, with_weights_at_hand

    if options.pretrained is None:
        spec = with_weights_at_hand(spec)
    if options.timeline and options.needs:
        raise InvalidInput("only one of --timeline and --needs can be measured", "both", "omit one")
    if options.timeline:
        return _run_timeline(spec, options)
    if options.needs:
        return _run_needs(spec, options)
    result = measure_and_compare(spec, installed_pool()).as_dict()
    if options.json:
        print(json.dumps(result))
        return 0
    for layer in result["layers"]:
        _print_layer(layer)
    _print_saved(spec, result["saved_bytes"])
    _print_compared(result["compared_bytes"])
    return 0


def _run_timeline(spec: RunSpec, options: argparse.Namespace) -> int:
    from asi_core.training.features import installed_pool
    from asi_core.training.measuring import measure_memory

    timeline = measure_memory(spec, installed_pool())
    if options.json:
        print(json.dumps(timeline_as_dict(spec, timeline)))
        return 0
    _print_timeline(spec, timeline)
    return 0


def _run_needs(spec: RunSpec, options: argparse.Namespace) -> int:
    from asi_core.training.features import installed_pool
    from asi_core.training.measuring import measure_need

    need = measure_need(spec, installed_pool())
    if options.json:
        written = {"spec": spec.model_dump(mode="json"), **need.as_dict()}
        print(json.dumps(written))
        return 0
    print(f"{spec.model_label}, batch {spec.batch_size}, {spec.image_size} px")
    total = format_bytes(need.total(frozen_in_flash=True))
    print(f"training needs {total} at once, measured, frozen forward passes included")
    for use, nbytes in need.breakdown.items():
        print(f"  {use:30} {format_bytes(nbytes):>10}")
    flash = format_bytes(need.frozen_weights)
    print(f"  besides, {flash} of frozen weights, which may lie in flash")
    return 0


def timeline_as_dict(spec: RunSpec, timeline: Timeline) -> dict[str, Any]:
    """For JSON: the peak, what lies there before the step, and the whole timeline."""
    peak = timeline.peak
    return {
        "spec": spec.model_dump(mode="json"),
        "weights": "pretrained" if spec.pretrained else "random",
        "kept_bytes": timeline.kept_bytes,
        "peak": {
            "bytes": peak.nbytes,
            "breakdown": dict(peak.by_use),
            "moment": peak.index,
            "phase": peak.moment.phase,
            "place": peak.moment.place,
            "operator": peak.moment.operator,
        },
        "base": {str(use): nbytes for use, nbytes in timeline.base.items()},
        "timeline": timeline.as_dict(),
    }


def _print_timeline(spec: RunSpec, timeline: Timeline) -> None:
    peak = timeline.peak
    print(f"{spec.model_label}, batch {spec.batch_size}, {spec.image_size} px")
    print("before the step")
    for use, nbytes in timeline.base.items():
        print(f"  {use:30} {format_bytes(nbytes):>10}")
    print(
        f"the step adds at most {format_bytes(peak.nbytes)}, of which it keeps "
        f"{format_bytes(timeline.kept_bytes)} for backward"
    )
    print(
        f"  reached in the {peak.moment.phase} pass of {peak.moment.place}, "
        f"at {peak.moment.operator}"
    )
    for use, nbytes in peak.by_use.items():
        print(f"  {use:30} {format_bytes(nbytes):>10}")


def _print_layer(layer: dict[str, Any]) -> None:
    formula, measured = (
        by_formula(layer[f"{k}_bytes"], format_bytes) for k in ("formula", "measured")
    )
    forward, backward = (format_seconds(layer[f"{k}_seconds"]) for k in ("forward", "backward"))
    print(
        f"{layer['name']:32} formula {formula:>10}, measured {measured:>10}, "
        f"forward {forward}, backward {backward}"
    )


def _print_saved(spec: RunSpec, saved: dict[str, Any]) -> None:
    print(f"{spec.model_label}, batch {spec.batch_size}, {spec.image_size} px")
    for category, size in saved["by_category"].items():
        print(f"{category:32} {format_bytes(size):>10}")
    print(f"{'saved for backward':32} {format_bytes(saved['total']):>10}, counted in two ways")


def _print_compared(compared: dict[str, int | None]) -> None:
    print("the same step, kept in four ways")
    for name, title in COMPARED_TITLES.items():
        print(f"{title:32} {by_formula(compared[name], format_bytes):>10}")
