from __future__ import annotations

import time

import pytest

from asi_core.errors import InvalidInput
from asi_core.records import HEAD_KIND
from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import (
    EXAMPLE_OWNER,
    LONGEST_NAME,
    Description,
    RunFilter,
    RunLibrary,
)
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import EvaluationEvent
from tests.runs.kept import asi, events, fail, keep, spec


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


@pytest.fixture
def library(store: RunStore) -> RunLibrary:
    return RunLibrary(store.url)


def completed(store: RunStore, **changes: object) -> list[RunRecord]:
    return keep(store, [spec(), asi(0.8)], [0.9, 0.8], [1000, 100], **changes)  # type: ignore[arg-type]


def ids(runs: list[RunRecord]) -> list[str]:
    return [run.id for run in runs]


def test_runs_come_newest_first_up_to_the_limit(
    store: RunStore, library: RunLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, now = store.create([spec(), spec(seed=1)], "me"), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 5)
    new = store.create([spec()], "me")
    assert ids(library.runs()) == ids(new) + ids(old)
    assert ids(library.runs(limit=2)) == ids(new) + ids(old[:1])


def test_runs_are_found_by_each_field_and_by_several(store: RunStore, library: RunLibrary) -> None:
    head, vanilla, compressed = store.create([spec(layers=0), spec(), asi(0.8, layers=2)], "me")
    (other,) = store.create([spec(model="resnet18", dataset="cifar10", layers="all")], "you")
    fail(store, other, "it broke.")

    def found(**fields: tuple[str, ...]) -> set[str]:
        return set(ids(library.runs(RunFilter(**fields))))

    assert found(kind=(HEAD_KIND,)) == {head.id}
    assert found(kind=("vanilla",)) == {vanilla.id, other.id}
    assert found(kind=("asi", HEAD_KIND)) == {head.id, compressed.id}
    assert found(model=("resnet18",)) == found(dataset=("cifar10",)) == {other.id}
    assert found(status=("failed",)) == found(owner=("you",)) == {other.id}
    assert found(comparison=(head.comparison,)) == {head.id, vanilla.id, compressed.id}
    assert found(owner=("me",), kind=("vanilla",)) == {vanilla.id}
    assert found(owner=("nobody",)) == set()


def test_existing_values_are_listed(store: RunStore, library: RunLibrary) -> None:
    store.create([spec(layers=0), asi(0.8), spec(model="resnet18")], "me")
    assert library.values("kind") == ["asi", HEAD_KIND, "vanilla"]
    assert library.values("model") == ["efficientnet_lite0", "resnet18"]
    assert library.values("status") == ["queued"]


def test_the_last_event_of_a_kind(store: RunStore, library: RunLibrary) -> None:
    run = completed(store)[0]
    last = library.last_event(run.id, "evaluation")
    assert isinstance(last, EvaluationEvent)
    assert (last.step, last.accuracy) == (20, pytest.approx(0.9))
    assert library.last_event(run.id, "nothing") is None


def test_steps_done_are_counted_by_run(store: RunStore, library: RunLibrary) -> None:
    going, waiting = store.create([spec(), spec(seed=1)], "me")
    token = store.attempts.claim(going.id)
    assert token is not None
    store.append(going.id, token, events(going.spec, 0.5, 100)[:5])
    completed(store)
    assert library.steps_done(going.comparison) == {going.id: 3}
    assert waiting.id not in library.steps_done(waiting.comparison)


def test_a_comparison_keeps_its_name_and_note(store: RunStore, library: RunLibrary) -> None:
    runs = completed(store)
    comparison = runs[0].comparison
    library.describe(comparison, Description("  Lecture 3 ", "for the students"))
    assert library.descriptions() == {comparison: Description("Lecture 3", "for the students")}
    library.describe(comparison, Description("Lecture 4"))
    assert RunLibrary(store.url).descriptions() == {comparison: Description("Lecture 4", "")}


@pytest.mark.parametrize(
    ("name", "note", "expected"),
    [
        ("x" * (LONGEST_NAME + 1), "", "a name must have at most 80 characters, got 81"),
        ("", "x" * 2001, "a note must have at most 2000 characters, got 2001"),
    ],
)
def test_long_names_and_notes_are_refused(
    store: RunStore, library: RunLibrary, name: str, note: str, expected: str
) -> None:
    runs = completed(store)
    with pytest.raises(InvalidInput, match=expected):
        library.describe(runs[0].comparison, Description(name, note))
    assert library.descriptions() == {}


def test_only_existing_comparisons_can_be_named(library: RunLibrary) -> None:
    with pytest.raises(InvalidInput, match="an existing comparison, got 'gone'"):
        library.describe("gone", Description("name"))


def test_a_deleted_comparison_leaves_nothing(store: RunStore, library: RunLibrary) -> None:
    gone, left = completed(store), completed(store)
    for runs in (gone, left):
        library.describe(runs[0].comparison, Description("name"))
    assert library.delete_comparison(gone[0].comparison) == 2
    assert set(ids(library.runs())) == set(ids(left))
    assert store.events(gone[0].id, "step") == []
    assert len(store.events(left[0].id, "step")) == 20
    assert list(library.descriptions()) == [left[0].comparison]


def test_single_runs_are_deleted_and_the_name_stays_with_the_others(
    store: RunStore, library: RunLibrary
) -> None:
    first, second = completed(store)
    library.describe(first.comparison, Description("name"))
    assert library.delete_runs([first.id]) == 1
    assert ids(library.runs()) == [second.id]
    assert first.comparison in library.descriptions()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_nothing_is_deleted_while_a_run_is_active(
    store: RunStore, library: RunLibrary, status: str
) -> None:
    first, second = store.create([spec(), spec(seed=1)], "me")
    fail(store, first, "it broke.")
    if status == "running":
        store.attempts.claim(second.id)
    with pytest.raises(InvalidInput, match="only runs that have ended can be deleted, got 1"):
        library.delete_comparison(first.comparison)
    assert len(library.runs()) == 2


def test_shipped_runs_are_not_deleted(store: RunStore, library: RunLibrary) -> None:
    shipped, own = completed(store, owner=EXAMPLE_OWNER), completed(store)
    with pytest.raises(InvalidInput, match="shipped with the app cannot be deleted, got 1 of them"):
        library.delete_runs([shipped[0].id, own[0].id])
    assert len(library.runs()) == 4


def test_runs_of_other_users_are_not_deleted(store: RunStore, library: RunLibrary) -> None:
    theirs, own = completed(store, owner="you"), completed(store, owner="me")
    with pytest.raises(InvalidInput, match="only your own runs can be deleted, got 1 of another"):
        library.delete_runs([theirs[0].id, own[0].id], owner="me")
    assert len(library.runs()) == 4
    assert library.delete_comparison(own[0].comparison, owner="me") == 2
