"""Turns: one thread of a process computes for all who ask, in the order in which they asked.

Runs of a comparison then grow side by side, and each step is timed alone on all cores. It is also
what keeps them right: while torch.fx traces a model, it replaces `nn.Module.__call__` for the whole
process, so no other thread may call a module meanwhile. And it is what keeps them fast: OpenMP
gives every thread that computes a team of threads of its own, which get in each other's way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class SerialExecutor:
    """A thread that computes what it is given, first come, first served.

    Args:
        prepare: called in that thread, before everything else.
    """

    def __init__(self, prepare: Callable[[], None] = lambda: None) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute", initializer=prepare)
        self._guard = threading.Lock()
        self._waiting = self._turns = 0

    @property
    def turns(self) -> int:
        """How many turns were begun or ended up to now: it stands still while one is computed."""
        return self._turns

    @property
    def waiting(self) -> int:
        """How many have asked and wait."""
        return self._waiting

    def run(
        self,
        what: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        """Wait for one's turn, and for what is computed in it, in the context of the caller."""
        self._count(1)
        task = partial(self._turn, partial(what, *arguments, **keywords))
        return self._thread.submit(copy_context().run, task).result()

    def _turn(self, what: Callable[[], Result]) -> Result:
        self._count(-1)
        self._turns += 1
        try:
            return what()
        finally:
            self._turns += 1

    def _count(self, change: int) -> None:
        with self._guard:
            self._waiting += change


def in_turns(items: Iterator[Item], executor: SerialExecutor) -> Iterator[Item]:
    """`items`, each computed in a turn of its own."""
    while True:
        found = executor.run(_next_of, items)
        if not found:
            return
        yield found[0]


def _next_of(items: Iterator[Item]) -> tuple[Item] | tuple[()]:
    """The next item alone; nothing at the end."""
    for item in items:
        return (item,)
    return ()
