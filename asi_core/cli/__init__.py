"""The command line: what the dashboard does, without a browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from pydantic import ValidationError

from asi_core.cli import bench, estimate, export, measure, plan, poster, sweep, train
from asi_core.cli.options import USAGE_ERROR, Commands, Parser
from asi_core.errors import AsiError, one_sentence

__all__ = ["main", "parse"]


class _Command(Protocol):
    """A module of this package: its flags, and a function that takes them and returns a code."""

    def add_parser(self, commands: Commands) -> None: ...


# The registry, in the order of --help. What needs torch is imported where it runs, so that help
# and wrong flags are answered at once.
_COMMANDS: tuple[_Command, ...] = (estimate, poster, measure, plan, train, sweep, export, bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if a run failed on its way; 2, with one line on stderr, if what was asked cannot be.
    """
    options = parse(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (AsiError, ValidationError) as error:
        print(one_sentence(error), file=sys.stderr)
        return USAGE_ERROR


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the arguments ask for; `run` of it is the command's function.

    Raises:
        SystemExit: with one line on stderr, if they cannot be understood.
    """
    parser = Parser(prog="python -m asi_core", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, parser_class=Parser)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser.parse_args(arguments)
