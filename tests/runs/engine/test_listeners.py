"""Listeners follow runs, and no listener stops one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asi_core.errors import AsiError, InvalidInput
from asi_core.runs import register_listener
from asi_core.runs.engine import worker
from asi_core.runs.engine.listeners import LISTENERS, Listeners
from asi_core.runs.engine.reporter import Reporter
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.events import EvaluationEvent, Event, StepEvent
from tests.own_runs import kept
from tests.runs.kept import events, spec
from tests.runs.losing import lose_all

SPEC = spec(steps=4)


class Recorder:
    """Keeps what it is told."""

    made: ClassVar[list[Recorder]] = []

    def __init__(self, run: RunRecord) -> None:
        self.run, self.told, self.ends = run, [], []
        self.made.append(self)

    def on_event(self, event: Event) -> None:
        self.told.append(event)

    def on_end(self, status: str, summary: dict[str, Any] | None) -> None:
        self.ends.append((status, summary))


@pytest.fixture
def recorded() -> Iterator[list[Recorder]]:
    register_listener(Recorder)
    yield Recorder.made
    LISTENERS.remove(f"{__name__}:Recorder")
    Recorder.made.clear()


@pytest.fixture
def store() -> RunStore:
    return RunStore(read_settings().database_url)


@pytest.fixture(autouse=True)
def happened(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What all runs yield, without training."""
    made = events(SPEC, 0.5, 1000)
    monkeypatch.setattr(worker, "fine_tune", lambda *arguments, **keywords: iter(made))
    return made


def executed(store: RunStore) -> RunRecord:
    (run,) = store.create([SPEC], "me")
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    return ended


def warnings(store: RunStore, run: RunRecord) -> list[str]:
    return [line.text for line in store.log_tail(run.id, 99) if line.level == "warning"]


def test_a_listener_is_told_everything(
    store: RunStore, recorded: list[Recorder], happened: list[Event]
) -> None:
    ended = executed(store)
    (listener,) = recorded
    assert listener.run.id == ended.id
    assert listener.told == happened
    assert listener.ends == [("completed", ended.summary)]


def test_a_run_of_ones_own_network_is_followed_too(recorded: list[Recorder]) -> None:
    run = kept()
    (listener,) = recorded
    assert [event.step for event in listener.told if event.kind == "step"] == [1, 2, 3, 4, 5, 6]
    assert listener.ends == [("completed", run.summary)]


def test_a_failure_is_told_with_its_summary(
    store: RunStore, recorded: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any, **keywords: Any) -> Iterator[Event]:
        yield from events(SPEC, 0.5, 1000)[:2]
        raise AsiError("the loss became nan.")

    monkeypatch.setattr(worker, "fine_tune", failing)
    ended = executed(store)
    assert recorded[0].ends == [("failed", ended.summary)]


def test_an_attempt_that_resumes_tells_everything_from_the_start(
    store: RunStore, tmp_path: Path, recorded: list[Recorder], happened: list[Event]
) -> None:
    (run,) = store.create([SPEC], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    with Reporter(store, run.id, token, tmp_path / "state", listeners=Listeners(run)) as reporter:
        reporter.goes_on_from(happened[:3], 1.0)
        for event in happened[3:5]:
            reporter.add(event)
        assert lose_all(store) == 1
    assert recorded[0].told == happened[:5]
    assert recorded[0].ends == [("interrupted", None)]


class Broken(Recorder):
    """Fails at its second event."""

    made: ClassVar[list[Recorder]] = []

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if len(self.told) == 2:
            raise ConnectionError("the tracker is away")


def test_a_broken_listener_is_left_out_and_the_run_goes_on(
    store: RunStore, recorded: list[Recorder], happened: list[Event]
) -> None:
    register_listener(Broken)
    try:
        ended = executed(store)
    finally:
        LISTENERS.remove(f"{__name__}:Broken")
    assert ended.status == "completed"
    assert recorded[0].told == happened
    (broken,) = Broken.made
    assert (len(broken.told), broken.ends) == (2, [])
    (line,) = warnings(store, ended)
    assert line == f"{__name__}:Broken does not follow this run: the tracker is away"


def test_listeners_of_the_settings_are_imported_by_name(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_tracker_of_ones_own.py").write_text(
        "from tests.runs.engine.test_listeners import Recorder\nclass Own(Recorder): made = []\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    names = "a_tracker_of_ones_own:Own, nowhere_at_all:Nothing"
    monkeypatch.setenv("ASI_LISTENERS", names)
    ended = executed(store)
    made = sys.modules["a_tracker_of_ones_own"].Own.made
    assert [listener.ends for listener in made] == [[("completed", ended.summary)]]
    (line,) = warnings(store, ended)
    assert "nowhere_at_all:Nothing does not follow this run: No module named" in line


def test_what_cannot_be_called_is_no_listener() -> None:
    with pytest.raises(InvalidInput, match="must be a class, or a function of a run, got 3"):
        register_listener(3)  # type: ignore[type-var]


def test_event_files_are_written_as_a_run_is_trained(
    store: RunStore, tmp_path: Path, happened: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("ASI_TENSORBOARD_DIR", str(tmp_path / "tb"))
    ended = executed(store)
    (place,) = (tmp_path / "tb" / ended.comparison).iterdir()
    assert place.name == f"Vanilla-seed-0-{ended.id}"
    read = EventAccumulator(str(place))
    read.Reload()
    losses = [(e.step, e.value) for e in read.Scalars("train/loss")]
    steps = [event for event in happened if isinstance(event, StepEvent)]
    assert losses == [(step.step, pytest.approx(step.loss, rel=1e-6)) for step in steps]
    tests = [event for event in happened if isinstance(event, EvaluationEvent)]
    found = [(e.step, e.value) for e in read.Scalars("test/accuracy")]
    assert found == [(test.step, pytest.approx(test.accuracy, rel=1e-6)) for test in tests]
    assert read.Tags()["tensors"] == ["specification/text_summary"]


def test_without_tensorboard_the_log_says_how_to_get_it(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setenv("ASI_TENSORBOARD_DIR", str(tmp_path / "tb"))
    ended = executed(store)
    assert ended.status == "completed"
    (line,) = warnings(store, ended)
    assert "pip install 'asi-lab[tensorboard]'" in line
