"""A run's log is stored with it: its own lines, in order, up to a limit."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from asi_core.errors import AsiError
from asi_core.runs.engine import reporter, worker
from asi_core.runs.records import LogLine
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_log import lines_of_this_context
from asi_core.runs.store.run_store import RunStore
from tests.runs.engine.test_worker import spec


@pytest.fixture
def store(database_url: str) -> RunStore:
    return worker.open_store(database_url)


def texts(store: RunStore, run_id: str, limit: int = 50) -> list[str]:
    return [line.text for line in store.log_tail(run_id, limit)]


def test_a_run_tells_what_it_does(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    message = "\n".join(texts(store, run.id))
    for part in (
        "attempt 1 by process",
        "weights of EfficientNet-Lite0",
        "for training",
        "all done",
    ):
        assert part in message
    assert "test images correct" in texts(store, run.id, 2)[0]


def test_the_error_is_the_last_line(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **keywords: Any) -> Any:
        logging.getLogger("py.warnings").warning("something is odd")
        raise AsiError("the loss became nan: lower the learning rate.")
        yield

    monkeypatch.setattr(worker, "fine_tune", fails)
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    odd, last = store.log_tail(run.id, 2)
    assert (odd.level, "something is odd" in odd.text) == ("warning", True)
    assert (last.level, last.text) == (
        "error",
        "failed: the loss became nan: lower the learning rate.",
    )


def test_only_lines_of_the_own_context_are_captured_and_only_while_open() -> None:
    log, lines = logging.getLogger("asi_core.somewhere"), list[LogLine]()
    with lines_of_this_context(lines.append):
        log.info("mine %d\n  of many words", 1)
        log.debug("too little")
        other = threading.Thread(target=log.info, args=("another context",))
        other.start()
        other.join()
    log.warning("too late")
    assert [(line.level, line.text) for line in lines] == [("info", "mine 1 of many words")]


def test_the_number_of_lines_is_limited(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatters(*arguments: Any, **keywords: Any) -> Any:
        for number in range(reporter._MOST_LINES + 100):
            logging.getLogger("asi_core").info("line %d", number)
        return
        yield

    monkeypatch.setattr(worker, "fine_tune", chatters)
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    lines = texts(store, run.id, 10 * reporter._MOST_LINES)
    assert len(lines) == reporter._MOST_LINES + 1
    assert lines[-1] == "further lines are in the server's log only"


def test_lines_are_fenced_and_deleted_with_their_run(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    store.append(
        run.id, token, [], {0: LogLine(1.0, "info", "first"), 1: LogLine(1.0, "info", "2")}
    )
    with pytest.raises(AttemptLost):
        store.append(run.id, "another", [], {2: LogLine(2.0, "info", "lost")})
    assert texts(store, run.id) == ["first", "2"]
    store.finish(run.id, token, "completed", {})
    RunLibrary(store.url).delete_runs([run.id])
    assert texts(store, run.id) == []
