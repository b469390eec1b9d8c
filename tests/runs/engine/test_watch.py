from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import count

import pytest

from asi_core.runs.engine.watch import Watch
from asi_core.runs.store.attempts import Running
from asi_core.runs.store.worker_id import WorkerId

HERE = str(WorkerId.here("tcp://127.0.0.1:1"))
ATTEMPT = Running("run", "token", 100.0, HERE, 7, 1, cancel_requested=False)


class Clock:
    """A clock that a test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(15, 10, clock=clock)


def names(found: list[Running]) -> list[str]:
    return [attempt.id for attempt in found]


def test_an_attempt_is_lost_when_its_heartbeat_stops(watch: Watch, clock: Clock) -> None:
    for clock.now in (0, 14, 15):
        assert watch.check([ATTEMPT]) == ([], [])
    clock.now = 15.1
    assert watch.check([ATTEMPT]) == ([ATTEMPT], [])


def test_other_servers_get_time_to_handle_their_workers(clock: Clock) -> None:
    watch = Watch(15, 10, patience=lambda attempt: 3.0, clock=clock)
    asked = replace(ATTEMPT, cancel_requested=True)
    for clock.now in (0, 16, 30):
        assert watch.check([asked]) == ([], [])
    clock.now = 30.1
    assert watch.check([asked]) == ([], [asked])
    clock.now = 45.1
    assert watch.check([asked]) == ([asked], [])


def test_heartbeats_count_whatever_their_clock(watch: Watch, clock: Clock) -> None:
    """Clocks may be set back and forth, or be an hour apart."""
    for clock.now, beat in zip(count(0, 10), (100.0, 3700.0, -50.0, 3.0, 3.5, 1e12), strict=False):
        assert watch.check([replace(ATTEMPT, heartbeat_at=beat)]) == ([], [])


def test_while_the_store_does_not_answer_no_attempt_is_lost(watch: Watch, clock: Clock) -> None:
    watch.check([ATTEMPT])
    clock.now = 100
    watch.forget()
    assert watch.check([ATTEMPT]) == ([], [])
    clock.now = 116
    assert names(watch.check([ATTEMPT])[0]) == ["run"]


def test_an_ended_process_is_detected_at_once(watch: Watch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    where = replace(WorkerId.here(), pid=ended.pid)
    gone = replace(ATTEMPT, worker=str(where))
    elsewhere = replace(ATTEMPT, worker=str(replace(where, machine="another")), token="2")
    assert watch.check([gone, elsewhere])[0] == [gone]


@pytest.mark.parametrize("worker", [None, "", "no JSON", "[]", '{"machine": "x"}'])
def test_an_unknown_worker_is_judged_by_its_heartbeat(
    watch: Watch, clock: Clock, worker: str | None
) -> None:
    silent = replace(ATTEMPT, worker=worker)
    assert watch.check([silent]) == ([], [])
    clock.now = 16
    assert watch.check([silent]) == ([silent], [])


def test_only_attempts_that_should_stop_and_compute_nothing_are_stuck(
    watch: Watch, clock: Clock
) -> None:
    def check(beat: float, turns: int, cancel: bool) -> list[Running]:
        attempt = replace(ATTEMPT, heartbeat_at=beat, turns=turns, cancel_requested=cancel)
        return watch.check([attempt])[1]

    assert check(0, 1, False) == []
    clock.now = 60
    assert check(1, 1, True) == [], "the time counts from the request on"
    clock.now = 69
    assert check(2, 1, True) == []
    clock.now = 71
    assert names(check(3, 1, True)) == ["run"]
    assert check(4, 2, True) == [], "its process computes, and will stop later"
    clock.now = 82
    assert names(check(5, 2, True)) == ["run"]


def test_a_new_attempt_is_judged_separately(watch: Watch, clock: Clock) -> None:
    watch.check([ATTEMPT])
    clock.now = 14
    assert watch.check([replace(ATTEMPT, token="second")]) == ([], [])
    clock.now = 20
    assert watch.check([replace(ATTEMPT, token="second")]) == ([], [])


def test_this_process_is_here() -> None:
    here = WorkerId.here("tcp://127.0.0.1:1")
    assert here.pid == os.getpid()
    assert not here.is_gone
    assert WorkerId.read(str(here)) == here
