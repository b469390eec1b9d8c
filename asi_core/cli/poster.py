"""`poster`: the poster's table, published against computed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from asi_core.cli.flags import add_json_flag
from asi_core.cli.options import Commands, add_convention
from asi_core.poster import Row, poster_facts, poster_rows


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("poster", help="the poster's table, published against computed")
    add_convention(parser, default="paper")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table, every cell as published and as computed."""
    rows = poster_rows(options.convention)
    if options.json:
        facts = {key: value for key, value in poster_facts().items() if key != "rows"}
        cells = [row.as_dict() for row in rows]
        print(json.dumps({**facts, "convention": options.convention, "rows": cells}))
    else:
        _print_table(rows)
    return 0


def _print_table(rows: Sequence[Row]) -> None:
    print(f"{'':46}{'activation memory, MiB':^34}{'cost, 1e9 MACs per step':^34}")
    for row in rows:
        name = f"{row.model:14}{row.method:20}{row.layers:>4} layers"
        print(f"{name:46}{row.memory.text():34}{row.cost.text():34}")
    for note in dict.fromkeys(c.note for row in rows for c in (row.memory, row.cost) if c.note):
        print(f"- {note}")
