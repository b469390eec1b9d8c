"""Whose run is next: owners take turns, and an owner's runs come in the order of their launch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued run.

    Attributes:
        created_at: when it was launched.
        trains_layers: the classifiers alone come last in their comparison, for they go on from the
            frozen features that the others have computed.
        position: in its comparison.
    """

    id: str
    owner: str
    created_at: float
    trains_layers: bool
    position: int


@dataclass(frozen=True, slots=True)
class Served:
    """What an owner has been given.

    Attributes:
        running: runs that are being worked on.
        last_at: when the latest of the owner's runs was begun; 0 if none ever was.
    """

    running: int = 0
    last_at: float = 0.0


def in_line(waiting: Sequence[Waiting], served: Mapping[str, Served]) -> Iterator[str]:
    """Ids in the order in which they are to be begun.

    The next is always of the owner with the fewest runs going, among those of the one who has
    waited longest.
    """
    queues: dict[str, deque[Waiting]] = {}
    for run in sorted(waiting, key=_order_of_owner):
        queues.setdefault(run.owner, deque()).append(run)
    running = {owner: served.get(owner, Served()).running for owner in queues}
    # Those who are given one now come behind all who were given theirs before.
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
