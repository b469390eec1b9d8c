"""The order of the queue: owners alternate, and an owner's runs start in the order of launch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued run.

    Attributes:
        created_at: time of its launch.
        trains_layers: False for a linear probe, which comes last in its comparison, as it reuses
            the frozen features that the other runs compute.
        position: its position in its comparison.
    """

    id: str
    owner: str
    created_at: float
    trains_layers: bool
    position: int


@dataclass(frozen=True, slots=True)
class Served:
    """The share that an owner has had.

    Attributes:
        running: number of the owner's running runs.
        last_at: start time of the owner's latest run; 0 if there is none.
    """

    running: int = 0
    last_at: float = 0.0


def in_line(waiting: Sequence[Waiting], served: Mapping[str, Served]) -> Iterator[str]:
    """Ids in the order in which they will be started.

    The next run is of the owner with the fewest running runs; among equals, of the one who has
    waited longest.
    """
    queues: dict[str, deque[Waiting]] = {}
    for run in sorted(waiting, key=_order_of_owner):
        queues.setdefault(run.owner, deque()).append(run)
    running = {owner: served.get(owner, Served()).running for owner in queues}
    # Owners who get a run here come after all who got one before.
    last: dict[str, tuple[int, float]] = {
        owner: (0, served.get(owner, Served()).last_at) for owner in queues
    }
    given = 0
    while queues:
        owner = min(queues, key=lambda o: (running[o], last[o], queues[o][0].created_at, o))
        yield queues[owner].popleft().id
        given += 1
        running[owner] += 1
        last[owner] = (given, 0.0)
        if not queues[owner]:
            del queues[owner]


def _order_of_owner(run: Waiting) -> tuple[float, bool, int]:
    return run.created_at, not run.trains_layers, run.position
