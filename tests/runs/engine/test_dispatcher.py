"""The dispatcher with a fake cluster, whose tasks end when and how a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from asi_core.runs.engine.dispatcher import Dispatcher, What


class Ticket:
    """A task that a test ends."""

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
    """The dispatcher with its fake environment."""

    def __init__(self) -> None:
        self.drawn: list[Ticket] = []
        self.refused: list[tuple[str, str, str]] = []
        self.now = 0.0
        self.full = False
        cluster: Any = SimpleNamespace(submit=self._submit)
        self.dispatcher = Dispatcher(
            cluster, "url", None, lambda *refusal: self.refused.append(refusal), lambda: self.now
        )

    def _submit(self, task: Any, *arguments: Any, key: str, priority: int) -> Ticket:
        if self.full:
            raise OSError("the scheduler is gone")
        self.drawn.append(Ticket(key))
        return self.drawn[-1]

    def submitted(self, *rows: str, at: float = 4e9, everything: bool = False) -> int:
        """The number of tasks submitted for queued `rows`."""
        before = len(self.drawn)
        waiting: Mapping[What, Mapping[str, float]] = {"run": dict.fromkeys(rows, at), "job": {}}
        self.dispatcher.submit_waiting(lambda: waiting, everything=everything)
        return len(self.drawn) - before


@pytest.fixture
def office() -> Office:
    return Office()


def test_each_row_has_one_task_until_it_ends(office: Office) -> None:
    office.dispatcher.submit("run", "a")
    office.dispatcher.submit("run", "a")
    assert len(office.drawn) == 1
    assert office.dispatcher
    office.drawn[0].ends()
    assert not office.dispatcher
    assert office.submitted("a") == 1, "it is still queued"


def test_rows_queued_by_another_server_are_submitted_later(office: Office) -> None:
    """Also if the clock was set back since, so that rows seem to come from the future."""
    assert office.submitted("theirs") == 0
    office.now = 59.0
    assert office.submitted("theirs", "other") == 0
    office.now = 61.0
    assert office.submitted("theirs", "other") == 1
    assert office.submitted("old", at=0.0) == 1


def test_after_a_start_everything_is_submitted(office: Office) -> None:
    assert office.submitted("a", "b", everything=True) == 2


def test_rows_launched_while_the_store_is_read_are_not_forgotten(office: Office) -> None:
    def read() -> Mapping[What, Mapping[str, float]]:
        office.dispatcher.submit("run", "new")
        return {"run": {}, "job": {}}

    office.dispatcher.submit_waiting(read)
    office.drawn[0].ends()
    assert office.submitted("new") == 1


def test_a_task_that_could_not_be_submitted_is_retried(office: Office) -> None:
    office.full = True
    office.dispatcher.submit("run", "a")
    assert not office.dispatcher
    office.full = False
    assert office.submitted("a") == 1


def test_three_consecutive_failures_are_reported_in_one_sentence(office: Office) -> None:
    error = OperationalError("UPDATE runs SET secret=?", {"secret": 1}, Exception("no such table"))
    for _ in range(3):
        office.dispatcher.submit("run", "a")
        office.drawn[-1].ends(error)
    assert office.refused == [("run", "a", "no worker could start the run (no such table).")]


def test_a_task_that_succeeds_resets_the_failures(office: Office) -> None:
    for number in range(4):
        office.dispatcher.submit("run", "a")
        office.drawn[-1].ends(OSError("gone") if number != 2 else None)
    assert office.refused == []
