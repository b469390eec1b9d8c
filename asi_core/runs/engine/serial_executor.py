"""One thread per process computes for all runs and jobs, in turns, in the order of requests.

Runs of a comparison then progress together, and each step is timed alone on all cores. It is also
needed for correctness: while torch.fx traces a model, it replaces `nn.Module.__call__` for the
whole process, so no other thread may call a module. And it is faster: OpenMP gives every computing
thread its own team of threads, which would compete for the cores.
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
    """A thread that executes calls, first come, first served.

    Args:
        prepare: called first in that thread.
    """

    def __init__(self, prepare: Callable[[], None] = lambda: None) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute", initializer=prepare)
        self._guard = threading.Lock()
        self._waiting = self._turns = 0

    @property
    def turns(self) -> int:
        """Number of turn starts and ends so far: constant while one is computed."""
        return self._turns

    @property
    def waiting(self) -> int:
        """Number of calls that wait."""
        return self._waiting

    def run(
        self,
        what: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        """Execute a call in the caller's context when its turn comes; returns its result."""
        task = partial(self._turn, partial(what, *arguments, **keywords))
        with self._guard:  # whoever is counted has its place in the queue
            result = self._thread.submit(copy_context().run, task)
            self._waiting += 1
        return result.result()

    def _turn(self, what: Callable[[], Result]) -> Result:
        with self._guard:
            self._waiting -= 1
        self._turns += 1
        try:
            return what()
        finally:
            self._turns += 1


def in_turns(items: Iterator[Item], executor: SerialExecutor) -> Iterator[Item]:
    """`items`, each computed in a separate turn."""
    while True:
        found = executor.run(_next_of, items)
        if not found:
            return
        yield found[0]


def _next_of(items: Iterator[Item]) -> tuple[Item] | tuple[()]:
    """The next item in a tuple; an empty tuple at the end."""
    for item in items:
        return (item,)
    return ()
