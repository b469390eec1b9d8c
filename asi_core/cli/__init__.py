"""The command line: what the dashboard does, without a browser.

Whatever is asked for and whatever happens, what is told is one line on stderr and an exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

# All else is imported where signals are heard already: even without torch it takes a while.
from asi_core.cli.signals import Interrupted, interrupting

if TYPE_CHECKING:
    import argparse

__all__ = ["main", "parse"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if a run failed on its way; 2 if what was asked cannot be; 128 and a signal's number
        if one has ended the command.
    """
    try:
        with interrupting():
            return _run(arguments)
    except Interrupted as interrupted:
        from asi_core.cli.terminal import leave, say

        say(interrupted.message)
        # What a thread computes, nobody waits for any more.
        leave(interrupted.code)
    except BrokenPipeError:
        from asi_core.cli.terminal import PIPE_CLOSED, to_nowhere

        to_nowhere()
        return PIPE_CLOSED


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the arguments ask for; `run` of it is the command's function.

    Raises:
        SystemExit: with one line on stderr, if they cannot be understood.
    """
    from asi_core.cli.registry import parsed

    return parsed(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    from asi_core.cli.registry import run
    from asi_core.cli.terminal import plain_characters, write_out

    plain_characters()
    try:
        return run(arguments)
    finally:
        write_out(sys.stdout)
