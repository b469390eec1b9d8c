"""Caches shared by visitors, so that many cost little more than one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import Event
from dashboard.audience import Audience
from dashboard.drawings import Drawings
from dashboard.feed import Feeds, RunFeed
from tests.runs.kept import events, spec


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(f"sqlite:///{tmp_path / 'asi.sqlite'}")


class Counting:
    """A store that counts its reads."""

    def __init__(self, store: RunStore) -> None:
        self._store, self.asked = store, 0

    def events(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        return self._store.events(*arguments, **keywords)


def begun(store: RunStore) -> tuple[RunRecord, str, list[Event]]:
    """An active run, its attempt's token, and its events, of which the first six are stored."""
    (run,) = store.create([spec()], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    message = events(run.spec, 0.9, 100)
    store.append(run.id, token, message[:6])
    return run, token, message


def test_events_are_read_once_for_all(store: RunStore) -> None:
    run, *_ = begun(store)
    counting = Counting(store)
    feeds = Feeds(counting, fresh_seconds=60)  # type: ignore[arg-type]
    found: list[RunFeed] = []
    threads = [threading.Thread(target=lambda: found.append(feeds.of(run))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.asked == 4, "steps, evaluations, probes and the timeline, each once"
    assert all(feed is found[0] for feed in found)
    assert found[0].mean("activation_bytes") == 100


def test_what_was_shown_does_not_change_when_more_comes(store: RunStore) -> None:
    run, token, message = begun(store)
    feeds = Feeds(store, fresh_seconds=0)
    before = feeds.of(run)
    count, version = len(before.steps), before.version
    assert feeds.of(run) is before, "nothing new"
    store.append(run.id, token, message[6:])
    after = feeds.of(run)
    assert len(before.steps) == count
    assert len(after.steps) == run.spec.steps
    assert after.version != version == before.version
    assert [row["step"] for row in after.steps] == list(range(1, run.spec.steps + 1))


def test_a_run_that_ended_is_read_to_its_end_at_once_and_never_again(store: RunStore) -> None:
    run, token, message = begun(store)
    counting = Counting(store)
    feeds = Feeds(counting, fresh_seconds=60)  # type: ignore[arg-type]
    assert len(feeds.of(run).steps) < run.spec.steps
    store.append(run.id, token, message[6:])
    assert store.attempts.end(run.id, token, status="completed")
    ended = store.run(run.id)
    assert ended is not None
    assert not ended.is_active
    feed = feeds.of(ended)
    assert len(feed.steps) == run.spec.steps
    asked = counting.asked
    feeds._fresh_seconds = 0
    assert feeds.of(ended) is feed
    assert counting.asked == asked


def test_many_who_look_at_a_run_are_shown_the_same_for_longer(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    counting = Counting(store)
    feeds = Feeds(counting, fresh_seconds=1e-4)  # type: ignore[arg-type]
    alone = [feeds.of(run, slowness=1e-9) for _ in range(3)]
    asked = counting.asked
    among_many = [feeds.of(run, slowness=1e9) for _ in range(3)]
    assert asked == 3 * len(alone)
    assert counting.asked == asked
    assert among_many[0] is alone[-1]


def test_runs_that_were_shown_long_ago_are_let_go(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = store.create([spec(seed=seed) for seed in range(3)], "me")
    monkeypatch.setattr("dashboard.feed._MOST_STEPS", 2 * spec().steps)
    for run in runs:
        token = store.attempts.claim(run.id)
        assert token is not None
        store.append(run.id, token, events(run.spec, 0.9, 100))
    feeds = Feeds(store, fresh_seconds=60)
    first = feeds.of(runs[0])
    others = [feeds.of(run) for run in runs[1:]]
    assert [feeds.of(run) for run in runs[1:]] == others
    assert feeds.of(runs[1]) is others[0]
    assert feeds.of(runs[0]) is not first


def test_who_comes_while_a_figure_is_drawn_waits_for_it() -> None:
    drawings, begun, goes_on = Drawings(), threading.Event(), threading.Event()
    drawn = []

    def plot() -> go.Figure:
        drawn.append(1)
        begun.set()
        assert goes_on.wait(10)
        return go.Figure()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(drawings.get, "loss", plot)
        assert begun.wait(10)
        second = pool.submit(drawings.get, "loss", plot)
        goes_on.set()
        assert first.result(10) is second.result(10)
    assert len(drawn) == 1


def test_a_figure_that_could_not_be_drawn_is_tried_again() -> None:
    drawings = Drawings()

    def fail() -> go.Figure:
        raise ValueError("no such curve")

    with pytest.raises(ValueError, match="no such curve"):
        drawings.get("loss", fail)
    assert drawings.get("loss", go.Figure)["data"] == []


def test_a_figure_is_drawn_once_for_all() -> None:
    drawn = []

    def plot() -> go.Figure:
        drawn.append(1)
        return go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))

    drawings = Drawings()
    first = drawings.get(("loss", 1), plot)
    assert drawings.get(("loss", 1), plot) is first
    assert len(drawn) == 1
    drawings.get(("loss", 2), plot)
    assert len(drawn) == 2
    assert first["data"][0]["type"] == "scatter"


def test_many_wait_longer_until_they_are_gone() -> None:
    now = [0.0]
    audience = Audience(lambda: now[0])
    assert audience.slowness == 1
    for number in range(40):
        audience.is_shown(f"session {number}")
        audience.is_shown(f"session {number}")
    assert audience.slowness == 10
    now[0] = 61.0
    audience.is_shown("session 0")
    assert audience.slowness == 1
