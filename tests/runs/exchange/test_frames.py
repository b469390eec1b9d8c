"""Stored runs as data frames."""

from __future__ import annotations

import pytest

import asi_core
from asi_core.errors import InvalidInput
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from tests.runs.kept import keep, keep_usual, spec


@pytest.fixture
def store() -> RunStore:
    return RunStore(read_settings().database_url)


def test_every_run_is_a_row(store: RunStore) -> None:
    runs = keep_usual(store)
    library = RunLibrary(store.url)
    library.describe(runs[0].comparison, Description("my try"))
    keep(store, [spec(seed=9)], [0.5], [None])
    frame = asi_core.runs.dataframe()
    assert len(frame) == len(runs) + 1
    assert set(asi_core.runs.dataframe(runs[0].comparison)["name"]) == {"my try"}
    for run in runs:
        row = frame.loc[run.id]
        assert run.summary is not None
        assert (row["method.kind"], row["steps"], row["seed"]) == (
            *(run.spec.method.kind, run.spec.steps, run.spec.seed),
        )
        assert row["test_accuracy"] == run.summary["test_accuracy"]
        assert row["seconds.step_median"] == run.summary["seconds"]["step_median"]
        assert row["created_at"].timestamp() == pytest.approx(run.created_at, abs=1e-3)
    shares = frame[frame["method.kind"] == "asi"].groupby("method.explained_variance")
    assert shares["test_accuracy"].count().to_dict() == {0.4: 2, 0.8: 2, 0.9: 2}


def test_a_history_has_a_row_per_step(store: RunStore) -> None:
    (run,) = keep(store, [spec()], [0.5], [10])
    frame = asi_core.runs.history(run.id, home=read_settings().home)
    assert list(frame.index) == list(range(1, 21))
    losses = [event.loss for event in store.events(run.id, "step")]  # type: ignore[union-attr]
    assert frame["loss"].tolist() == losses
    tested = frame["test_accuracy"].dropna()
    evaluations = store.events(run.id, "evaluation")
    assert tested.to_dict() == {e.step: e.accuracy for e in evaluations}  # type: ignore[union-attr]


def test_what_is_not_there_yet_is_empty(store: RunStore) -> None:
    assert asi_core.runs.dataframe().empty
    (run,) = store.create([spec()], "me")
    assert asi_core.runs.history(run.id).empty
    assert asi_core.runs.dataframe().loc[run.id, "status"] == "queued"
    with pytest.raises(InvalidInput, match="the run must be in the store, got 'nowhere'"):
        asi_core.runs.history("nowhere")
