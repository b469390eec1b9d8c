"""The job panel in all its states, on a separate page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.methods import ASI
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.submit.jobs import request_job
from asi_core.settings import Limits, read_settings
from asi_core.training.spec import RunSpec
from dashboard import services, visitor
from dashboard.jobs import progress_sentence

SPEC = RunSpec(method=ASI(ranks=2))


def page_with_panel() -> None:
    import streamlit as st

    from asi_core.methods import ASI
    from asi_core.training.spec import RunSpec
    from dashboard.jobs import job_panel

    spec = RunSpec(method=ASI(ranks=2))
    result = job_panel("measure", spec, button="Measure", key="m", again="Measure again")
    st.markdown(f"result: {result}")


class Engine:
    """Records submitted jobs."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def submit_job(self, job_id: str) -> None:
        self.jobs.append(job_id)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    st.cache_resource.clear()
    noted = Engine()
    monkeypatch.setattr(services, "engine", lambda: noted)
    yield noted
    st.cache_resource.clear()


@pytest.fixture
def store() -> JobStore:
    return JobStore(read_settings().database_url)


def opened() -> AppTest:
    page = AppTest.from_function(page_with_panel, default_timeout=180).run()
    assert not page.exception
    return page


def click(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click()
    page.run()
    assert not page.exception


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def test_from_the_button_to_the_answer(engine: Engine, store: JobStore) -> None:
    page = opened()
    assert (labels(page), texts(page.markdown)) == (["Measure"], "result: None")
    click(page, "Measure")
    (job_id,) = engine.jobs
    assert labels(page) == []
    assert "Queued in the worker" in texts(page.info)
    token = store.attempts.claim(job_id)
    assert token is not None
    page.run()
    assert "Measuring one training step" in texts(page.info)
    store.complete(job_id, token, {"number": 1})
    page.run()
    assert (labels(page), texts(page.info)) == (["Measure again"], "")
    assert texts(page.markdown) == "result: {'number': 1}"
    assert texts(opened().markdown) == "result: {'number': 1}", "straight away on the next visit"


def test_the_last_answer_stays_while_a_new_one_is_asked_and_when_it_fails(
    engine: Engine, store: JobStore
) -> None:
    first = request_job(store, "measure", SPEC, "me")
    store.complete(first.id, str(store.attempts.claim(first.id)), {"number": 1})
    page = opened()
    click(page, "Measure again")
    (second,) = engine.jobs
    assert second != first.id
    assert texts(page.markdown) == "result: {'number': 1}"
    store.fail(second, str(store.attempts.claim(second)), "it broke.")
    page.run()
    assert "The job failed: it broke." in texts(page.error)
    assert texts(page.markdown) == "result: {'number': 1}"
    click(page, "Try again")
    assert len(engine.jobs) == 2
    store.complete(engine.jobs[1], str(store.attempts.claim(engine.jobs[1])), {"number": 2})
    page.run()
    assert not page.error
    assert texts(page.markdown) == "result: {'number': 2}"


def test_a_job_that_was_given_up_says_so(engine: Engine, store: JobStore) -> None:
    page = opened()
    click(page, "Measure")
    token = store.attempts.claim(engine.jobs[0])
    assert token is not None
    store.attempts.end(engine.jobs[0], token, status="failed", error="its worker ended 3 times.")
    page.run()
    assert "its worker ended 3 times" in texts(page.error)
    click(page, "Try again")
    assert len(engine.jobs) == 2


def test_a_refusal_is_reported_once(engine: Engine, store: JobStore) -> None:
    for seed in range(Limits().questions_per_owner):
        changed = SPEC.model_copy(update={"seed": seed + 1})
        request_job(store, "measure", changed, visitor.owner())
    page = opened()
    click(page, "Measure")
    rule = f"at most {Limits().questions_per_owner} calibrations and measurements of one visitor"
    assert rule in texts(page.error)
    assert engine.jobs == []
    page.run()
    assert not page.error


def test_how_long_a_job_has_been_going_is_reported(store: JobStore) -> None:
    job = request_job(store, "calibrate", SPEC, "me")
    store.attempts.claim(job.id)
    going = store.job(job.id)
    assert going is not None
    assert going.started_at is not None
    message = progress_sentence(going, going.started_at + 12.3)
    assert message.replace("\u202f", " ") == "Calibrating on two batches for 12 s …"
