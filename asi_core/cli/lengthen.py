"""`lengthen`: train completed runs on, to more steps."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from asi_core.cli.flags import add_json_flag
from asi_core.cli.options import Commands
from asi_core.cli.terminal import say
from asi_core.cli.train import RUN_FAILED, as_dict, print_run
from asi_core.errors import InvalidInput

if TYPE_CHECKING:
    from asi_core.runs.records import RunRecord
    from asi_core.runs.store.run_store import RunStore


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "lengthen",
        help="train completed runs on, to more steps",
        description="Trains completed runs on from their checkpoints, as new runs with the whole "
        "curve and the numbers of runs that were as long from the start. The old runs stay.",
    )
    parser.add_argument("run_id", metavar="RUN", help="a run's id, or a comparison's for all of it")
    parser.add_argument("--steps", type=int, required=True, help="training steps in all")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute the longer runs, and print their results."""
    from asi_core.cli.executing import OWNER, execute_all
    from asi_core.runs.submit.lengthening import request_longer

    store, ended = execute_all(
        lambda store: request_longer(store, _named(store, options.run_id), options.steps, OWNER)
    )
    for each in ended:
        if each.status != "completed":
            say(each.error or f"run {each.id} was {each.status}: its measurements are kept.")
    if options.json:
        found = [as_dict(each, store) for each in ended]
        print(json.dumps({"comparison": ended[0].comparison, "runs": found}))
    else:
        for each in ended:
            if each.status == "completed":
                print_run(each)
    return RUN_FAILED if any(each.status != "completed" for each in ended) else 0


def _named(store: RunStore, name: str) -> list[RunRecord]:
    found = store.run(name)
    runs = store.comparison(name) if found is None else [found]
    if not runs:
        raise InvalidInput(
            "RUN must be the id of a run or of a comparison in the store",
            repr(name),
            "`train --json` and the page's link have it",
        )
    return runs
