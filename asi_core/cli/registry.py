"""All commands, and how their errors are reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

import asi_core
from asi_core.cli import (
    app,
    bench,
    estimate,
    export,
    fit,
    lengthen,
    measure,
    plan,
    poster,
    sweep,
    train,
)
from asi_core.cli.options import Commands, Parser
from asi_core.cli.terminal import USAGE_ERROR, say
from asi_core.errors import AsiError, one_sentence
from asi_core.zoo.outside import trust

_BROKEN = 1
_COMMAND = "asi-lab"
_DESCRIPTION = "Fine-tuning with compressed activations, with and without a browser."


class _Command(Protocol):
    """A module of this package: it adds its flags and a function that returns an exit code."""

    def add_parser(self, commands: Commands) -> None: ...


# The registry, in the order of --help. What needs torch is imported where it runs, so that --help
# and wrong flags are fast.
_COMMANDS: tuple[_Command, ...] = (
    app,
    estimate,
    poster,
    measure,
    plan,
    fit,
    train,
    lengthen,
    sweep,
    export,
    bench,
)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """As `asi_core.cli.parse`."""
    program = _COMMAND if Path(sys.argv[0]).stem == _COMMAND else "python -m asi_core"
    parser = Parser(prog=program, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{_COMMAND} {asi_core.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, parser_class=Parser)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser.parse_args(arguments)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; returns its exit code."""
    options = parsed(arguments)
    if isinstance(name := getattr(options, "model", None), str):
        trust(name)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except (AsiError, ValidationError) as error:
        say(one_sentence(error))
        return USAGE_ERROR
    except BrokenPipeError:
        raise
    except Exception as error:
        return _unforeseen(error)


def _unforeseen(error: Exception) -> int:
    # Imported here, as it is slow and most commands need no store.
    from asi_core.runs.store.database import STORE_ERRORS, silence_of

    if isinstance(error, OSError):
        say(one_sentence(error))
        return USAGE_ERROR
    if isinstance(error, STORE_ERRORS):
        say(one_sentence(silence_of(error)))
        return USAGE_ERROR
    if sys.flags.dev_mode:
        raise error
    say(
        f"{type(error).__name__}: {one_sentence(error).rstrip('.')}: this is a bug; "
        "python -X dev -m asi_core ... shows the traceback."
    )
    return _BROKEN
