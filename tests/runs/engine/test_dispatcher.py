"""Tickets, drawn by a cluster of which a test decides when and how they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from asi_core.runs.engine.dispatcher import Tickets, What


class Ticket:
    """A task that ends as it is told to."""

    def __init__(self, name: str) -> None:
        self.name, self.status, self._error = name, "pending", None
        self._called: list[Callable[[Any], None]] = []

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        self._called.append(call)

    def exception(self) -> Exception | None:
        return self._error

    def ends(self, error: Exception | None = None) -> None:
        self.status, self._error = "error" if error else "finished", error
        for call in self._called:
            call(self)


class Office:
    """Tickets with all that is around them."""

    def __init__(self) -> None:
        self.drawn: list[Ticket] = []
        self.refused: list[tuple[str, str, str]] = []
        self.now = 0.0
        self.full = False
        cluster: Any = SimpleNamespace(submit=self._submit)
        self.tickets = Tickets(
            cluster, "url", None, lambda *told: self.refused.append(told), lambda: self.now
        )

    def _submit(self, task: Any, *arguments: Any, key: str, priority: int) -> Ticket:
        if self.full:
            raise OSError("the scheduler is gone")
        self.drawn.append(Ticket(key))
        return self.drawn[-1]

    def hand_out(self, *rows: str, at: float = 4e9, everything: bool = False) -> int:
        """How many tickets `rows` are given that were queued at some time."""
        before = len(self.drawn)
        waiting: Mapping[What, Mapping[str, float]] = {"run": dict.fromkeys(rows, at), "job": {}}
        self.tickets.hand_out(lambda: waiting, everything=everything)
        return len(self.drawn) - before


@pytest.fixture
def office() -> Office:
    return Office()


def test_each_has_one_ticket_until_that_is_used(office: Office) -> None:
    office.tickets.give("run", "a")
    office.tickets.give("run", "a")
    assert len(office.drawn) == 1
    assert office.tickets
    office.drawn[0].ends()
    assert not office.tickets
    assert office.hand_out("a") == 1, "it still waits"


def test_what_another_server_has_queued_is_taken_up_later(office: Office) -> None:
    """Also where the time of day was set back since: it then seems to come from the future."""
    assert office.hand_out("theirs") == 0
    office.now = 59.0
    assert office.hand_out("theirs", "other") == 0
    office.now = 61.0
    assert office.hand_out("theirs", "other") == 1
    assert office.hand_out("old", at=0.0) == 1


def test_after_a_start_everything_is_taken_up(office: Office) -> None:
    assert office.hand_out("a", "b", everything=True) == 2


def test_what_was_launched_while_the_store_was_read_is_not_forgotten(office: Office) -> None:
    def read() -> Mapping[What, Mapping[str, float]]:
        office.tickets.give("run", "new")
        return {"run": {}, "job": {}}

    office.tickets.hand_out(read)
    office.drawn[0].ends()
    assert office.hand_out("new") == 1


def test_what_no_scheduler_took_gets_a_ticket_later(office: Office) -> None:
    office.full = True
    office.tickets.give("run", "a")
    assert not office.tickets
    office.full = False
    assert office.hand_out("a") == 1


def test_three_refusals_on_end_are_told_in_one_sentence(office: Office) -> None:
    error = OperationalError("UPDATE runs SET secret=?", {"secret": 1}, Exception("no such table"))
    for _ in range(3):
        office.tickets.give("run", "a")
        office.drawn[-1].ends(error)
    assert office.refused == [("run", "a", "no worker could take up the run (no such table).")]


def test_a_worker_that_took_up_something_has_refused_nobody(office: Office) -> None:
    for number in range(4):
        office.tickets.give("run", "a")
        office.drawn[-1].ends(OSError("gone") if number != 2 else None)
    assert office.refused == []
