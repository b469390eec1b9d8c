"""Runs of one's own network in the store: kept, ended, exported, and not repeated."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asi_core import keep_run
from asi_core.errors import AsiError, InvalidInput, Refused, Unavailable, Unsupported
from asi_core.methods import Vanilla
from asi_core.results.differences import differing_settings, task_of
from asi_core.results.outcomes import single_outcomes
from asi_core.runs.exchange.archive import read_archive
from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from asi_core.runs.records import RunRecord
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.library import RunFilter, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import request_runs
from asi_core.runs.validity.probes import check_model
from asi_core.runs.validity.rows import problem_of
from asi_core.runs.validity.specs import InvalidRun
from asi_core.settings import read_settings
from asi_core.training.events import Event, PreparedEvent
from asi_core.training.loop import fine_tune as by_name
from asi_core.training.reproduce import as_command, as_python
from asi_core.training.spec import RunSpec
from tests.own_runs import ASI, kept, training

GONE = '{"machine": "elsewhere", "pid": 1, "address": ""}'


def store() -> RunStore:
    return RunStore(read_settings().database_url)


def test_a_kept_run_has_all_its_events_and_stands_with_those_of_its_name() -> None:
    seen: list[Event] = []
    first = kept()
    second = keep_run(
        training(ASI), network="tiny", data="dots", comparison="first try", each=seen.append
    )
    runs = store().comparison(first.comparison)
    assert [run.id for run in runs] == [first.id, second.id]
    assert {run.status for run in runs} == {"completed"}
    assert [problem_of(run) for run in runs] == [None, None]
    library = RunLibrary(store().url)
    assert library.descriptions()[first.comparison].name == "first try"
    found = library.runs(RunFilter(model=("own/tiny",), dataset=("own/dots",)))
    assert {run.id for run in found} == {first.id, second.id}
    events = store().all_events(second.id)
    assert sorted(events, key=str) == sorted(seen, key=str)
    check_model(second.spec, events)
    assert second.summary is not None
    assert second.summary["steps_done"] == 6
    assert RunSpec.model_validate_json(second.spec.model_dump_json()) == second.spec
    assert store().log_tail(second.id, 9)[-1].text.endswith("test images correct")


def test_only_runs_from_the_same_start_on_the_same_data_are_compared() -> None:
    usual = training(ASI).spec
    assert task_of(usual) == task_of(training().spec)
    # Another classifier is the same start, other weights of a layer are not.
    assert task_of(usual) != task_of(training(ASI, seed=1).spec)
    assert task_of(usual) != task_of(training(ASI, momentum=0.5).spec)
    assert task_of(usual) != task_of(usual.model_copy(update={"dataset": "own/other"}))


def test_how_two_runs_differ_is_said_in_plain_values() -> None:
    specs = [training(ASI).spec, training(seed=1).spec]
    found = differing_settings(specs)
    assert found["method"] == [ASI["kind"], Vanilla.class_kind()]
    assert "own" not in found
    assert len(set(found["start"])) == 2
    assert all(len(text) == 8 for text in found["start"])


def test_seeds_and_methods_are_outcomes() -> None:
    outcomes = single_outcomes([kept(), kept(ASI)])
    assert [outcome.label for outcome in outcomes] == ["Vanilla, seed 0", "ASI, rank 2, seed 0"]
    assert all(set(outcome.measures) >= {"accuracy", "saved_bytes"} for outcome in outcomes)


def test_it_survives_an_archive(tmp_path: Path) -> None:
    run = kept(ASI)
    here, there = store(), RunStore(f"sqlite:///{tmp_path / 'there.sqlite'}")
    content = export_comparison(here, RunLibrary(here.url), run.comparison)
    (copy,) = import_comparison(there, RunLibrary(there.url), io.BytesIO(content), "me")
    assert copy.spec == run.spec
    assert there.all_events(copy.id) == here.all_events(run.id)
    assert copy.summary is not None
    assert copy.summary["test_accuracy"] == run.summary["test_accuracy"]  # type: ignore[index]


def test_an_archive_whose_layers_are_not_those_of_its_specification_is_refused() -> None:
    run = kept(ASI)
    archive, happened = read_archive(
        io.BytesIO(export_comparison(store(), RunLibrary(store().url), run.comparison))
    )
    spec, events = archive.runs[0].spec, happened[0]
    (prepared,) = (event for event in events if isinstance(event, PreparedEvent))
    assert spec.own_layers is not None
    conv, linear = spec.own_layers
    for layers, message in (
        ((conv.model_copy(update={"name": "5"}), linear), "not a trained layer of own/tiny"),
        ((conv.model_copy(update={"is_linear": True}), linear), "another kind"),
    ):
        with pytest.raises(InvalidRun, match=message):
            check_model(spec.model_copy(update={"own_layers": layers}), [prepared])


def ended(each: Callable[[Event], object], error: type[BaseException], **recipe: Any) -> RunRecord:
    with pytest.raises(error):
        keep_run(training(**recipe), network="tiny", data="dots", each=each)
    ((run,),) = store().latest_comparisons(1)
    return run


def test_an_error_is_stored_with_the_run_and_raised() -> None:
    run = ended(lambda event: None, AsiError, learning_rate=1e30, clip_norm=1e38)
    assert run.status == "failed"
    assert "lower the learning rate" in str(run.error)

    def wrong(event: Event) -> None:
        raise KeyError("mine")

    assert ended(wrong, KeyError).error == "KeyError: 'mine'"


def test_an_interrupt_and_a_request_cancel_it() -> None:
    def interrupt(event: Event) -> None:
        if event.step == 3:
            raise KeyboardInterrupt

    run = ended(interrupt, KeyboardInterrupt)
    assert (run.status, run.summary["steps_done"]) == ("cancelled", 3)  # type: ignore[index]

    def ask(event: Event) -> None:
        if event.step == 2:
            store().request_cancel(store().active()[0].id)

    run = keep_run(training(), network="tiny", data="dots", each=ask)
    assert run.status == "cancelled"
    assert run.summary is not None
    assert run.summary["steps_done"] == 2


def test_a_run_whose_process_died_is_interrupted_and_not_queued() -> None:
    spec = training().spec
    run, token = store().begin(spec, "command line", GONE)
    store().append(run.id, token, list(training())[:4])
    (attempt,) = store().attempts.running()
    assert not store().put_back(attempt)
    found = store().run(run.id)
    assert found is not None
    assert found.status == "interrupted"
    assert "start the program again" in str(found.error)
    assert found.summary is not None
    assert found.summary["steps_done"] == 1
    with pytest.raises(AttemptLost):
        store().append(run.id, token, [])


def test_a_run_that_is_deleted_meanwhile_stops() -> None:
    def delete(event: Event) -> None:
        if event.step == 1:
            (attempt,) = store().attempts.running()
            store().end_lost(attempt, "cancelled", None)

    with pytest.raises(Unavailable, match="not kept any further"):
        keep_run(training(), network="tiny", data="dots", each=delete)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: keep_run(iter(()), network="n", data="d"), InvalidInput, "training of a module"),
        (lambda t: keep_run(t, network="", data="d"), InvalidInput, "1 to 80 printable"),
        (lambda t: keep_run(t, network="n", data="a\nb"), InvalidInput, "1 to 80 printable"),
        (lambda t: (next(t), keep_run(t, network="n", data="d")), InvalidInput, "has begun"),
        (
            lambda t: keep_run(t, network="n", data="d", comparison=" "),
            InvalidInput,
            "comparison's name",
        ),
        (lambda t: request_runs(store(), [t.spec], owner="me"), Unsupported, "keep_run"),
        (lambda t: list(by_name(t.spec)), Unsupported, "keep_run"),
        (lambda t: as_command(t.spec), Unsupported, "keep_run"),
        (lambda t: RunSpec(model="own/x", method=Vanilla()), ValueError, "one of the zoo"),
        (
            lambda t: RunSpec.model_validate({**t.spec.model_dump(), "layers": 1}),
            ValueError,
            "each of its trained layers",
        ),
    ],
)
def test_refusals_are_sentences(
    call: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(training())


def test_a_read_only_installation_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_READ_ONLY", "true")
    with pytest.raises(Refused):
        kept()


def test_another_home_is_another_store(tmp_path: Path) -> None:
    run = keep_run(training(), network="tiny", data="dots", home=tmp_path / "other")
    assert RunStore(f"sqlite:///{tmp_path}/other/asi.sqlite").run(run.id) == run
    assert store().run(run.id) is None


def test_the_python_of_a_run_is_the_call_that_made_it() -> None:
    made = training({"kind": "asi", "ranks": 3}, learning_rate=0.1)
    names = {"model": None, "batches": None, "test_batches": None}
    calls: list[tuple[Any, ...]] = []
    code = as_python(made.spec).replace("from asi_core import Compression, fine_tune", "")

    def fine_tune(*given: Any, **recipe: Any) -> list[Event]:
        calls.append((*given, recipe))
        return []

    from asi_core import Compression

    exec(code, {**names, "Compression": Compression, "fine_tune": fine_tune})
    ((_, _, config, recipe),) = calls
    assert (config.method, config.layers) == (made.spec.method, ("2", "6"))
    assert config.also_trained == ("8",)
    assert recipe == {"test": None, "steps": 6, "learning_rate": 0.1}
