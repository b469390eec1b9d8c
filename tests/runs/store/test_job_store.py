from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from asi_core.errors import InvalidInput, Unavailable
from asi_core.methods import Vanilla
from asi_core.runs.exchange.example_jobs import (
    import_example_jobs,
    write_example_job,
    write_example_jobs,
)
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store import job_store as jobs
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.submit.jobs import request_job
from asi_core.settings import Limits
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS, model_card
from tests.runs.losing import lose_all


@pytest.fixture
def store(database_url: str) -> JobStore:
    return JobStore(database_url)


def spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **changes})


def current(store: JobStore, job: JobRecord) -> JobRecord:
    found = store.job(job.id)
    assert found is not None
    return found


def completed(store: JobStore, kind: str, about: RunSpec, result: dict[str, Any]) -> JobRecord:
    job = request_job(store, kind, about, "me", again=True)
    token = store.attempts.claim(job.id)
    assert token is not None
    store.complete(job.id, token, result)
    return current(store, job)


def test_a_job_goes_from_queued_to_completed(store: JobStore) -> None:
    job = request_job(store, "calibrate", spec(), "me")
    assert (job.status, job.owner, job.attempt, job.result) == ("queued", "me", 0, None)
    token = store.attempts.claim(job.id)
    assert token is not None
    running = current(store, job)
    assert (running.status, running.attempt) == ("running", 1)
    assert running.started_at is not None
    store.complete(job.id, token, {"layers": []})
    ended = current(store, job)
    assert (ended.status, ended.result) == ("completed", {"layers": []})
    assert ended.finished_at is not None
    assert not ended.is_active


def test_results_of_many_jobs_are_found_in_one_query(store: JobStore) -> None:
    questions = [spec(layers=layers) for layers in (1, 2, 3, 4)]
    completed(store, "calibrate", questions[1], {"of": "before"})
    newest = completed(store, "calibrate", questions[1], {"of": "two"})
    other = completed(store, "calibrate", questions[3], {"of": "four"})
    request_job(store, "calibrate", questions[0], "me")
    completed(store, "measure", questions[2], {"of": "another kind"})
    assert store.answers("calibrate", questions) == {questions[1]: newest, questions[3]: other}
    assert store.answers("calibrate", []) == {}


def test_an_active_job_is_shared_by_all_owners(store: JobStore) -> None:
    job = request_job(store, "calibrate", spec(), "me")
    assert request_job(store, "calibrate", spec(), "another user") == job
    assert request_job(store, "calibrate", spec(), "me", again=True) == job
    assert request_job(store, "calibrate", spec(seed=1), "me").id != job.id
    assert request_job(store, "measure", spec(), "me").id != job.id


def test_a_completed_job_is_reused_unless_repeated(store: JobStore) -> None:
    first = completed(store, "measure", spec(), {"number": 1})
    assert request_job(store, "measure", spec(), "me") == first
    second = completed(store, "measure", spec(), {"number": 2})
    assert second.id != first.id
    assert request_job(store, "measure", spec(), "me").result == {"number": 2}


def test_a_failed_job_may_be_requested_again(store: JobStore) -> None:
    job = request_job(store, "measure", spec(), "me")
    token = store.attempts.claim(job.id)
    assert token is not None
    store.fail(job.id, token, "it could not be.")
    assert current(store, job).error == "it could not be."
    assert request_job(store, "measure", spec(), "me").id != job.id


def test_only_relevant_settings_distinguish_jobs(store: JobStore) -> None:
    measured = request_job(store, "measure", spec(method={"kind": "asi", "ranks": 3}), "me")
    for method in ({"kind": "hosvd", "ranks": 3}, {"kind": "asi", "ranks": 4}):
        assert store.latest("measure", spec(method=method)) is None
    longer = spec(method={"kind": "asi", "ranks": 3}, steps=7, learning_rate=0.5)
    assert store.latest("measure", longer) == measured
    assert store.latest("measure", longer.model_copy(update={"lean": False})) is None
    calibrated = request_job(store, "calibrate", spec(method={"kind": "asi", "ranks": 3}), "me")
    assert store.latest("calibrate", spec(lean=False)) == calibrated
    assert store.latest("calibrate", spec(layers=3)) is None


def test_results_answer_for_the_update_that_they_were_made_with(store: JobStore) -> None:
    """Keys of before the default changed had no update, which meant every step."""
    every, needed = (
        spec(method={"kind": "asi", "ranks": 4, "update": update})
        for update in ("every_step", "when_needed")
    )
    job = completed(store, "measure", every, {"old": 1})
    assert store.latest("measure", every) == job
    assert store.latest("measure", needed) is None
    assert store.create("measure", needed, "me").id != job.id
    before = spec(method={"kind": "asi", "ranks": 4, "update": "every_step"})
    settled = job_kind("measure").settled(before)
    settings = settled.model_dump(mode="json", exclude_defaults=True)
    settings["method"].pop("update")
    weights = jobs.weights_fingerprint(model_card(settled.model))
    settings |= {"lean": settled.lean, "weights": weights}
    key = jobs._digest(["measure", job_kind("measure").edition, "asi", settings])
    assert jobs._key("measure", settled) == key


def test_old_results_without_lean_layers_are_not_reused_for_lean_layers(
    store: JobStore,
) -> None:
    """Keys leave defaults out, and this default has changed."""
    settled = job_kind("measure").settled(spec())
    settings = settled.model_dump(mode="json", exclude_defaults=True)
    old = jobs._digest(["measure", "vanilla", settings])
    assert "lean" not in settings
    assert old not in {
        jobs._key("measure", settled.model_copy(update={"lean": lean})) for lean in (True, False)
    }


@pytest.mark.usefixtures("plugins")
def test_a_result_of_other_code_of_a_package_is_not_reused(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = spec(method={"kind": "nonzero"}), spec()
    for asked in (theirs, ours):
        job = request_job(store, "measure", asked, "me")
        assert store.latest("measure", asked) == job
    monkeypatch.setattr(
        jobs, "foreign_code", lambda method: "" if method is Vanilla else "changed since"
    )
    assert store.latest("measure", theirs) is None
    assert store.latest("measure", ours) is not None


def test_simultaneous_requests_make_one_job(store: JobStore) -> None:
    made: list[str] = []
    gate = threading.Barrier(6)

    def ask() -> None:
        gate.wait()
        made.append(store.create("calibrate", spec(), "me").id)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    assert list(store.queued()) == [made[0]]


def test_too_many_queued_jobs_are_refused(store: JobStore) -> None:
    for seed in range(Limits().questions_per_owner):
        request_job(store, "measure", spec(seed=seed), "me")
    with pytest.raises(InvalidInput, match=f"at most {Limits().questions_per_owner} calibrations"):
        request_job(store, "measure", spec(seed=99), "me")
    assert request_job(store, "measure", spec(seed=99), "another").status == "queued"


def test_all_users_together_have_a_limit(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_MAX_QUESTIONS", "3")
    for seed in range(3):
        request_job(store, "measure", spec(seed=seed), f"visitor {seed}")
    with pytest.raises(
        InvalidInput, match="at most 3 calibrations and measurements of all visitors together"
    ):
        request_job(store, "measure", spec(seed=99), "another")


def test_an_unknown_kind_is_refused(store: JobStore) -> None:
    with pytest.raises(InvalidInput, match="choose measure or timeline or"):
        request_job(store, "guess", spec(), "me")


def test_damaged_weights_leave_nothing_queued(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODELS[spec().model].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(Unavailable, match="does not hold the weights"):
        request_job(store, "calibrate", spec(), "me")
    assert store.queued() == {}


def test_missing_images_leave_nothing_queued(store: JobStore, tmp_path: Path) -> None:
    with pytest.raises((InvalidInput, Unavailable)):
        request_job(store, "calibrate", spec(dataset=f"imagefolder:{tmp_path / 'none'}"), "me")
    assert store.queued() == {}


def test_an_attempt_that_lost_its_job_writes_nothing(store: JobStore) -> None:
    job = request_job(store, "measure", spec(), "me")
    token = store.attempts.claim(job.id)
    assert token is not None
    assert store.attempts.claim(job.id) is None, "one attempt at a time"
    store.attempts.write(job.id, token)
    with pytest.raises(AttemptLost):
        store.complete(job.id, "the token of another attempt", {"number": 0})
    assert lose_all(store) == 1
    for write in (
        lambda: store.attempts.write(job.id, token),
        lambda: store.complete(job.id, token, {"number": 1}),
        lambda: store.fail(job.id, token, "late"),
    ):
        with pytest.raises(AttemptLost):
            write()
    again = current(store, job)
    assert (again.status, again.result, again.attempt) == ("queued", None, 1)


def test_only_queued_jobs_are_refused(store: JobStore) -> None:
    job = request_job(store, "measure", spec(), "me")
    assert store.attempts.refuse(job.id, "no worker.")
    assert (current(store, job).status, current(store, job).error) == ("failed", "no worker.")
    assert not store.attempts.refuse(job.id, "no worker.")


def test_examples_are_stored_once_and_own_results_are_preferred(
    store: JobStore, tmp_path: Path
) -> None:
    write_example_job(tmp_path, "calibration", "calibrate", spec(), {"layers": [1]})
    for _ in range(2):
        import_example_jobs(store, tmp_path)
        known = request_job(store, "calibrate", spec(steps=3), "me")
        assert (known.owner, known.status, known.result) == (
            EXAMPLE_OWNER,
            "completed",
            {"layers": [1]},
        )
    assert store.queued() == {}
    completed(store, "calibrate", spec(), {"layers": [2]})
    import_example_jobs(store, tmp_path)
    assert request_job(store, "calibrate", spec(), "me").result == {"layers": [2]}


def test_many_examples_are_one_file(store: JobStore, tmp_path: Path) -> None:
    results = [(spec(batch_size=size), {"size": size}) for size in (8, 16)]
    write_example_jobs(tmp_path, "sizes", "calibrate", results)
    import_example_jobs(store, tmp_path)
    found = store.answers("calibrate", [about for about, _ in results])
    assert [found[about].result for about, _ in results] == [result for _, result in results]


def test_a_new_edition_of_an_example_replaces_the_old(store: JobStore, tmp_path: Path) -> None:
    write_example_job(tmp_path, "calibration", "calibrate", spec(), {"layers": [1]})
    import_example_jobs(store, tmp_path)
    old = store.latest("calibrate", spec())
    assert old is not None
    write_example_job(tmp_path, "calibration", "calibrate", spec(), {"layers": [3]})
    import_example_jobs(store, tmp_path)
    assert store.job(old.id) is None
    new = store.latest("calibrate", spec())
    assert new is not None
    assert new.result == {"layers": [3]}


def test_equal_results_are_written_as_equal_bytes(tmp_path: Path) -> None:
    paths = [
        write_example_job(tmp_path, name, "calibrate", about, {"layers": [1]})
        for name, about in (("one", spec()), ("two", spec(steps=5)))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
