"""Shipped runs: written, read, and replaced by a new edition."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from asi_core.runs.exchange.examples import example_names, import_examples, write_example
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.rows import problem_of
from asi_core.settings import PROJECT
from asi_core.training.events import (
    EvaluationEvent,
    Event,
    LayerProbe,
    ProbeEvent,
    StepEvent,
)
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from tests.runs.kept import keep, spec

METHODS: list[dict[str, Any]] = [{"kind": "vanilla"}, {"kind": "asi", "ranks": 4}]
SPECS = [RunSpec.model_validate({"method": method, "seed": 3}) for method in METHODS]
SHIPPED = PROJECT / "data" / "examples"


def step(number: int) -> StepEvent:
    seconds = {f"{part}_seconds": 0.0123456789 for part in ("prefix", "forward", "backward")}
    counts = dict.fromkeys(("saved_bytes", "activation_bytes"), 123_456_789)
    macs = {f"{part}_macs": 9_876_543_210 for part in ("forward", "overhead", "backward")}
    return StepEvent(
        step=number,
        loss=1 / 3,
        accuracy=0.5,
        learning_rate=0.05,
        update_seconds=0.001,
        **seconds,
        **counts,
        **macs,
    )


HAPPENED: list[Event] = [
    step(1),
    step(2),
    EvaluationEvent(step=2, accuracy=0.87654321, loss=0.4),
    ProbeEvent(
        step=1,
        layers=(
            LayerProbe(
                name="conv",
                shape=(2, 3),
                singular_values=((1.23456, 0.5),) * 2,
                drift_degrees=(None, 12.34567),
            ),
        ),
    ),
]


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def ended(store: RunStore, status: str = "completed") -> list[RunRecord]:
    runs = store.create(SPECS, "me")
    for run in runs:
        token = store.attempts.claim(run.id)
        assert token
        store.append(run.id, token, HAPPENED)
        store.finish(run.id, token, status, {"test_accuracy": 0.5}, None)  # type: ignore[arg-type]
    return store.comparison(runs[0].comparison)


def other_store(path: Path) -> RunStore:
    return RunStore(f"sqlite:///{path / 'other.sqlite'}")


def test_what_was_written_is_read_back(store: RunStore, tmp_path: Path) -> None:
    written = ended(store, status="cancelled")
    write_example(store, written, tmp_path / "folder" / "two.json.gz")
    other = other_store(tmp_path)
    assert import_examples(other, tmp_path / "folder") == ["example-two"]
    read = other.comparison("example-two")
    assert [run.id for run in read] == ["example-two-0", "example-two-1"]
    assert {run.owner for run in read} == {"example"}
    for before, after in zip(written, read, strict=True):
        same = {
            name: getattr(before, name)
            for name in ("spec", "status", "summary", "created_at", "finished_at", "error")
        }
        assert replace(after, **same) == after


def test_events_come_back_with_fewer_digits(store: RunStore, tmp_path: Path) -> None:
    write_example(store, ended(store), tmp_path / "folder" / "two.json.gz")
    other = other_store(tmp_path)
    import_examples(other, tmp_path / "folder")
    first, second = other.events("example-two-1", "step")
    assert isinstance(second, StepEvent)
    assert (first.step, second.step) == (1, 2)
    assert second.loss == pytest.approx(1 / 3, rel=1e-4)
    assert second.loss != 1 / 3
    assert second.saved_bytes == 123_456_789
    assert second.forward_macs == 9_876_543_210
    (evaluation,) = other.events("example-two-1", "evaluation")
    assert evaluation.accuracy == 0.87654  # type: ignore[union-attr]
    (probe,) = other.events("example-two-1", "probe")
    assert isinstance(probe, ProbeEvent)
    assert probe.layers[0].singular_values == ((1.235, 0.5),) * 2
    assert probe.layers[0].drift_degrees == (None, 12.35)


def test_only_some_steps_of_long_runs_are_written(store: RunStore, tmp_path: Path) -> None:
    runs = keep(store, [spec()], [0.8], [1000])
    write_example(store, runs, tmp_path / "folder" / "thin.json.gz", step_every=7)
    import_examples(store, tmp_path / "folder")
    (run,) = store.comparison("example-thin")
    steps = [event.step for event in store.events(run.id, "step")]
    assert steps == [1, 7, 14, 20]
    assert run.summary is not None
    assert run.summary["steps_done"] == 20


def test_a_second_import_changes_nothing(store: RunStore, tmp_path: Path) -> None:
    write_example(store, ended(store), tmp_path / "folder" / "two.json.gz")
    assert import_examples(store, tmp_path / "folder") == ["example-two"]
    assert import_examples(store, tmp_path / "folder") == []
    assert len(store.comparison("example-two")) == 2
    assert len(store.events("example-two-0", "step")) == 2


def test_a_new_edition_replaces_the_old_one(store: RunStore, tmp_path: Path) -> None:
    path, runs = tmp_path / "folder" / "two.json.gz", ended(store)
    write_example(store, runs, path)
    import_examples(store, path.parent)
    write_example(store, runs[1:], path)
    assert import_examples(store, path.parent) == ["example-two"]
    (only,) = store.comparison("example-two")
    assert only.spec.method.kind == "asi"
    assert store.events("example-two-1", "step") == []
    assert len(store.comparison(runs[0].comparison)) == 2, "the user's runs are kept"


def test_two_servers_that_start_at_once_write_one_example(store: RunStore, tmp_path: Path) -> None:
    write_example(store, ended(store), tmp_path / "folder" / "two.json.gz")
    others = [other_store(tmp_path) for _ in range(4)]
    together, written = threading.Barrier(len(others)), []

    def start(other: RunStore) -> None:
        together.wait()
        written.append(import_examples(other, tmp_path / "folder"))

    threads = [threading.Thread(target=start, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == [[], [], [], ["example-two"]]
    assert len(others[0].comparison("example-two")) == 2


def test_a_stored_edition_is_not_written_again(store: RunStore) -> None:
    runs, happened = ended(store), [item.model_dump(mode="json") for item in HAPPENED]
    shipped = [replace(run, id=f"x-{run.id}", comparison="example-x") for run in runs]
    assert store.finished.add(shipped, {shipped[0].id: happened}, "one")
    assert not store.finished.add(shipped, {shipped[0].id: happened}, "one")
    assert len(store.events(shipped[0].id, "step")) == 2


def test_an_edition_that_contradicts_itself_is_an_error_and_leaves_nothing(store: RunStore) -> None:
    run = replace(ended(store)[0], id="x", comparison="example-x")
    twice = [HAPPENED[0].model_dump(mode="json")] * 2
    with pytest.raises(IntegrityError):
        store.finished.add([run], {"x": twice}, "one")
    assert store.comparison("example-x") == []


def test_the_same_runs_give_the_same_bytes(store: RunStore, tmp_path: Path) -> None:
    runs = ended(store)
    for name in ("a", "b"):
        write_example(store, runs, tmp_path / f"{name}.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_a_missing_folder_has_no_examples(store: RunStore, tmp_path: Path) -> None:
    assert import_examples(store, tmp_path / "none") == []


def test_shipped_comparisons_are_small_and_every_record_in_them_is_valid(store: RunStore) -> None:
    own = ["example-cifar10", "example-equal-memory", "example-methods", "example-ranks"]
    own.append("example-variance")
    names = example_names(SHIPPED)
    study = [name for name in names if name.startswith("example-poster-")]
    assert sorted(own + study) == names
    long = [*study, "example-cifar10"]
    assert sum(path.stat().st_size for path in SHIPPED.glob("*.json.gz")) < 4e6
    assert import_examples(store, SHIPPED) == names
    for name in names:
        for run in store.comparison(name):
            assert run.status == "completed"
            assert problem_of(run) is None
            usual = RUN_DEFAULTS["steps"]
            assert run.spec.steps == (600 if name in long else usual)
            written = [event.step for event in store.events(run.id, "step")]
            assert written[-1] == run.spec.steps
            thinned = 16 if name == "example-equal-memory" else usual
            assert len(written) == (61 if name in long else thinned)
            assert store.events(run.id, "evaluation")
            assert run.summary is not None
            assert run.summary["steps_done"] == run.spec.steps
    drift = store.comparison("example-poster-drift")
    assert [len(store.events(run.id, "probe")) for run in drift] == [21, 21]


def test_shipped_comparisons_match_their_description(store: RunStore) -> None:
    import_examples(store, SHIPPED)
    methods = store.comparison("example-methods")
    kinds = ["vanilla", "vanilla", "asi", "hosvd", "gradient_filter"]
    assert [run.spec.method.kind for run in methods] == kinds
    assert [run.spec.layers for run in methods] == [0, 4, 4, 4, 4]
    ranks = store.comparison("example-ranks")
    assert [run.spec.method.ranks for run in ranks] == [1, 2, 4, 8, 16]  # type: ignore[union-attr]
    sweep = store.comparison("example-variance")
    assert {run.spec.seed for run in sweep} >= {0, 1}
    shares = {getattr(run.spec.method, "explained_variance", None) for run in sweep}
    assert shares == {None, 0.4, 0.6, 0.8, 0.9, 0.95}
