"""`bench`: time and memory of all methods on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from asi_core.cli.options import Commands
from asi_core.errors import InvalidInput

_MINUTES = 2.0


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("bench", help="compare the time and memory of all methods")
    parser.add_argument(
        "--only", action="append", metavar="PART", help="memory, kernels or end_to_end; repeatable"
    )
    parser.add_argument(
        "--minutes", type=float, default=_MINUTES, metavar="M", help="approximate duration"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the ratios, or all measurements as JSON."""
    if not 0 < options.minutes < float("inf"):
        raise InvalidInput("minutes must be a positive number", options.minutes, "try 6")
    from asi_core.bench.report import PARTS, bench
    from asi_core.training.setup import default_device

    for part in options.only or ():
        if part not in PARTS:
            raise InvalidInput("--only must name a part", repr(part), f"choose {', '.join(PARTS)}")
    found = bench(options.minutes, default_device(), options.only or PARTS, _report)
    print(json.dumps(found) if options.json else "\n".join(_lines(found["summary"])))
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _lines(summary: dict[str, Any], before: str = "") -> list[str]:
    lines = []
    for name, value in summary.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{before}{name} ")
        else:
            shown = f"{value:.2f}" if isinstance(value, float) else str(value).lower()
            lines.append(f"{before}{name}: {shown}".replace("_", " "))
    return lines
