"""The examples of docs/other_tools.md, with recorders in place of the trackers."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from asi_core.runs.engine.event_files import scalars
from asi_core.runs.engine.listeners import LISTENERS, register_listener
from asi_core.runs.engine.worker import execute
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from tests.runs.kept import events, keep, spec

PAGE = Path(__file__).parents[1] / "docs" / "other_tools.md"
PANDAS, WANDB, MLFLOW = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SPEC = spec(steps=4)
MADE = events(SPEC, 0.5, 1000)


class Called:
    """Records the calls of its methods, and returns `answer`."""

    def __init__(self, answer: Any = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append((name, arguments, keywords))
            return self._answer

        return call


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setattr("asi_core.runs.engine.worker.fine_tune", lambda *a, **k: iter(MADE))
    return RunStore(read_settings().database_url)


def followed(store: RunStore, example: str, name: str) -> RunRecord:
    """A run that was trained with the listener `name` of an example."""
    names: dict[str, Any] = {"__name__": "my_trackers"}
    exec(compile(example, str(PAGE), "exec"), names)
    register_listener(names[name])
    try:
        (run,) = store.create([SPEC], "me")
        execute(run.id, store.url)
    finally:
        LISTENERS.remove(f"my_trackers:{name}")
    ended = store.run(run.id)
    assert ended is not None
    assert ended.status == "completed"
    return ended


def test_the_line_reads_stored_runs_with_pandas(store: RunStore) -> None:
    (run,) = keep(store, [SPEC], [0.5], [10])
    names: dict[str, Any] = {}
    exec(compile(PANDAS, str(PAGE), "exec"), names)
    assert names["frame"].loc[run.id, "test_accuracy"] == 0.5


def test_wandb_is_told_every_number(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    its_run = Called()
    wandb = ModuleType("wandb")
    begun: list[dict[str, Any]] = []
    wandb.init = lambda **keywords: begun.append(keywords) or its_run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run = followed(store, WANDB, "ToWandb")
    assert begun[0]["config"] == run.spec.model_dump(mode="json")
    assert its_run.calls == [
        *(("log", (scalars(event),), {"step": event.step}) for event in MADE),
        ("finish", (), {"exit_code": 0}),
    ]


def test_mlflow_is_told_every_number(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Called(SimpleNamespace(info=SimpleNamespace(run_id="theirs")))
    mlflow = ModuleType("mlflow")
    mlflow.MlflowClient = lambda: client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    followed(store, MLFLOW, "ToMlflow")
    metrics = [(args, words) for name, args, words in client.calls if name == "log_metric"]
    assert metrics == [
        (("theirs", name, value), {"step": event.step})
        for event in MADE
        for name, value in scalars(event).items()
    ]
    assert client.calls[-1] == ("set_terminated", ("theirs", "FINISHED"), {})
