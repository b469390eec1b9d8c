from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from asi_core.runs.engine import housekeeping
from asi_core.runs.engine.housekeeping import tidy
from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.checkpoint_files import final_path
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import Settings
from tests.runs.kept import keep, spec


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def settings_of(store: RunStore, home: Path, keep_days: float | None = None) -> Settings:
    return Settings(home=home, database_url=store.url, keep_days=keep_days)


def aged(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_bytes(b"x")
    os.utime(folder, (time.time() - 7200,) * 2)
    return folder


def test_only_unneeded_checkpoints_are_removed(store: RunStore, tmp_path: Path) -> None:
    settings = settings_of(store, tmp_path)
    (going,) = store.create([spec()], "me")
    (done,) = keep(store, [spec(seed=1)], [0.5], [10])
    needed, useless, lost = (
        aged(settings.checkpoints_dir / name) for name in (going.id, done.id, "0123456789ab")
    )
    theirs = [aged(settings.checkpoints_dir / name) for name in ("my-thesis", "0123456789ac")]
    (theirs[1] / "chapter").touch()
    os.utime(theirs[1], (time.time() - 7200,) * 2)
    young = settings.checkpoints_dir / "0123456789ad"
    young.mkdir()
    tidy(settings, store, RunLibrary(store.url), JobStore(store.url))
    assert needed.exists()
    assert young.exists()
    assert not useless.exists()
    assert not lost.exists()
    assert all(place.exists() for place in theirs), "other programs may use the folder"


def test_states_of_completed_runs_stay_as_far_as_there_is_room(
    store: RunStore, tmp_path: Path
) -> None:
    runs = keep(store, [spec(seed=n) for n in range(3)], [0.5] * 3, [10] * 3)
    places = {}
    for age, run_id in enumerate([*(run.id for run in runs), "0123456789ab"]):
        path = final_path(tmp_path / "checkpoints", run_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 100)
        for place in (path, path.parent):
            os.utime(place, (time.time() - 7200 - age,) * 2)
        places[run_id] = path
    library, jobs = RunLibrary(store.url), JobStore(store.url)
    settings = Settings(home=tmp_path, database_url=store.url, checkpoint_bytes=250)
    tidy(settings, store, library, jobs)
    assert [places[run.id].exists() for run in runs] == [True, True, False], "the newest two"
    assert not places["0123456789ab"].parent.exists(), "of no run that is known"
    library.delete_runs([runs[0].id])
    tidy(settings, store, library, jobs)
    assert [places[run.id].parent.exists() for run in runs] == [False, True, False]


def test_old_runs_are_deleted_if_configured(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = RunLibrary(store.url)
    (old,) = keep(store, [spec()], [0.5], [10])
    keep(store, [spec(seed=3)], [0.5], [10], owner=EXAMPLE_OWNER)
    library.describe(old.comparison, Description("old"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * 24 * 3600)
    (new,) = keep(store, [spec(seed=1)], [0.5], [10])
    (going,) = store.create([spec(seed=2)], "me")
    tidy(settings_of(store, tmp_path), store, library, JobStore(store.url))
    assert store.run(old.id) is not None, "kept forever by default"
    tidy(settings_of(store, tmp_path, keep_days=7), store, library, JobStore(store.url))
    assert store.run(old.id) is None
    assert library.descriptions() == {}
    assert store.run(new.id) is not None
    assert store.run(going.id) is not None
    assert {run.owner for run in library.runs()} == {"local", "me", EXAMPLE_OWNER}


def test_runs_that_are_new_here_are_kept_even_if_their_numbers_are_old(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a completed run, and an imported comparison."""
    library, now = RunLibrary(store.url), time.time()
    (old,) = keep(store, [spec()], [0.5], [10])
    archive = io.BytesIO(export_comparison(store, library, old.comparison))
    monkeypatch.setattr(time, "time", lambda: now + 10 * 24 * 3600)
    (copy,) = store.create([spec()], "ben", answers={0: old})
    (imported,) = import_comparison(store, library, archive, "ben")
    for kept in (copy, imported):
        assert kept.finished_at == old.finished_at
    tidy(settings_of(store, tmp_path, keep_days=7), store, library, JobStore(store.url))
    assert {run.id for run in library.runs()} == {copy.id, imported.id}


def test_uploads_of_runs_that_are_kept_stay(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[set[str]] = []
    monkeypatch.setattr(housekeeping, "remove_older", lambda at, names: used.append(set(names)))
    library = RunLibrary(store.url)
    keep(store, [spec(dataset="fashion_mnist_small", seed=1)], [0.5], [10])
    monkeypatch.setattr(library, "runs", lambda *a, **k: [])
    tidy(settings_of(store, tmp_path, keep_days=7), store, library, JobStore(store.url))
    assert used == [{"fashion_mnist_small"}], "of all runs, not only of the newest"


def test_a_missing_folder_is_ignored(store: RunStore, tmp_path: Path) -> None:
    tidy(settings_of(store, tmp_path / "none"), store, RunLibrary(store.url), JobStore(store.url))


def test_old_jobs_are_deleted_too(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, now = JobStore(store.url), time.time()
    jobs.keep_examples([("measure", spec(seed=9), {"shipped": True})])
    old, going = (jobs.create("measure", spec(seed=seed), "me") for seed in (0, 1))
    jobs.attempts.refuse(old.id, "no worker")
    monkeypatch.setattr(time, "time", lambda: now + 10 * 24 * 3600)
    new = jobs.create("measure", spec(seed=2), "me")
    jobs.attempts.refuse(new.id, "no worker")
    tidy(settings_of(store, tmp_path, keep_days=7), store, RunLibrary(store.url), jobs)
    assert jobs.job(old.id) is None
    assert jobs.job(going.id) is not None
    assert jobs.job(new.id) is not None
    assert jobs.latest("measure", spec(seed=9)) is not None
