"""The command line: what the dashboard does, without a browser.

Every error is reported as one line on stderr and an exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

# Imported first and alone: other imports take a while, and signals must be handled by then.
from asi_core.cli.signals import Interrupted, interrupting

if TYPE_CHECKING:
    import argparse

__all__ = ["main", "parse"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 for success; 1 if a run failed; 2 for an invalid request; 128 + the signal's number if a
        signal ended the command.
    """
    try:
        with interrupting():
            return _run(arguments)
    except Interrupted as interrupted:
        from asi_core.cli.terminal import leave, say

        say(interrupted.message)
        # Do not wait for computing threads.
        leave(interrupted.code)
    except BrokenPipeError:
        from asi_core.cli.terminal import PIPE_CLOSED, to_nowhere

        to_nowhere()
        return PIPE_CLOSED


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; the namespace's `run` is the command's function.

    Raises:
        SystemExit: with one line on stderr, if they are invalid.
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
