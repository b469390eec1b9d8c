"""The Step page without a browser: timelines are made up, and this process is the worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from asi_core.costs.timeline.records import Lifetime, Moment, Timeline, Use
from asi_core.errors import InvalidInput
from asi_core.methods import ASI, Vanilla
from asi_core.runs.job_kinds import JOB_KINDS
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.submit.jobs import request_job
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, THIN_SPACE
from dashboard import visitor
from dashboard.csv_files import csv_bytes
from dashboard.step.steps import KnownStep, Step
from dashboard.step.table import number_rows
from tests.pages.inline import InlineEngine, inline_engine

PAGES = Path(__file__).parents[2] / "pages"
ONE_RANK = {"ranks_from": "One rank"}
OTHER = {**ONE_RANK, "layers": "3"}


@pytest.fixture(autouse=True)
def engine(opened_before: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    for kind, answer in ("timeline", measured), ("timeline_formula", formula):
        monkeypatch.setitem(JOB_KINDS, kind, replace(JOB_KINDS[kind], answer=answer))
    yield from inline_engine(monkeypatch)


def made_up(spec: RunSpec, source: Any) -> Timeline:
    """A step that keeps 2 MiB with ASI, else 20 or, if lean, 10 MiB, and 4 MiB more at its peak."""
    compressed = isinstance(spec.method, ASI)
    kept = MIB * (2 if compressed else 10 if spec.lean else 20)
    phases = [Moment("forward", "conv", "op", 0), Moment("backward", "conv", "op", 4 * MIB)]
    weight = Lifetime(MIB, Use.TRAINED_WEIGHTS, "conv", -1, 2)
    return Timeline(source, "cpu", tuple(phases), (weight, Lifetime(kept, "pooling", "conv", 0, 2)))


def formula(spec: RunSpec, pool: Any) -> dict[str, Any]:
    return made_up(spec, "formula").as_dict()


def measured(spec: RunSpec, pool: Any) -> dict[str, Any]:
    return made_up(spec, "measured").as_dict()


def opened(**query: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(PAGES / "step.py"), default_timeout=180)
    for key, value in query.items():
        app.query_params[key] = value
    return drawn(app)


def drawn(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements).replace(THIN_SPACE, " ")


def peaks(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value.replace(THIN_SPACE, " ") for metric in page.metric}


def click(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click()
    drawn(page)


def requested(engine: InlineEngine) -> list[RunSpec]:
    jobs = JobStore(read_settings().database_url)
    found = [jobs.job(job_id) for job_id in engine.jobs]
    assert all(job is not None and job.kind == "timeline_formula" for job in found)
    return [job.spec for job in found if job is not None]


def test_formulas_are_requested_by_a_visit_and_drawn_when_they_are_known(
    engine: InlineEngine,
) -> None:
    page = opened(**OTHER)
    assert "Queued in the worker" in texts(page.info)
    assert not page.metric
    specs = requested(engine)
    assert [(type(spec.method), spec.lean) for spec in specs] == [
        (ASI, True),
        (Vanilla, False),
        (Vanilla, True),
    ]
    assert {spec.layers for spec in specs} == {3}
    engine.work()
    drawn(page)
    assert not page.info
    assert peaks(page) == {
        "ASI peak (formula)": "6 MiB",
        "Vanilla peak (formula)": "24 MiB",
        "Lean vanilla peak (formula)": "14 MiB",
    }
    assert (
        "ASI's step peaks at 6 MiB in the backward pass of conv; vanilla's at 24 MiB: 4 × less. "
        "All that it saves for backward is 10 × less."
    ) in texts(page.markdown)
    assert texts(page.caption).count("By formula.") == 1
    drawn(page)
    assert engine.jobs == [], "requested once"
    assert peaks(opened(**OTHER)) == peaks(page), "straight away on the next visit"


def test_the_first_view_is_measured_where_ranks_depend_on_the_images(engine: InlineEngine) -> None:
    page = opened()
    assert list(peaks(page)) == [
        "ASI peak (measured)",
        "Vanilla peak (measured)",
        "Lean vanilla peak (measured)",
    ]
    assert "Measured where the app's examples were made." in texts(page.caption)
    assert len(requested(engine)) == 2, "ASI's ranks depend on the images"
    engine.work()
    drawn(page)
    assert list(peaks(page))[1:] == ["Vanilla peak (formula)", "Lean vanilla peak (formula)"]
    assert "ASI: the ranks depend on the images, so there is no formula" in texts(page.caption)
    assert "By formula: Vanilla, Lean vanilla." in texts(page.caption)


def test_a_server_that_computes_nothing_shows_the_shipped_steps_and_says_why(
    monkeypatch: pytest.MonkeyPatch, engine: InlineEngine
) -> None:
    monkeypatch.setenv("ASI_READ_ONLY", "1")
    page = opened()
    assert len(page.metric) == 3
    (reason,) = [error.value for error in page.error]
    assert reason.startswith("No formula of Vanilla, Lean vanilla: ")
    assert engine.jobs == []


def test_switches_reach_every_step(engine: InlineEngine) -> None:
    opened(**OTHER, micro_batch="8", optimizer="AdamW", apply_early="true", lean="false")
    specs = requested(engine)
    assert [spec.lean for spec in specs] == [False, False, True], "vanilla has its own two"
    for spec in specs:
        assert (spec.micro_batch, spec.optimizer, spec.apply_early) == (8, "adamw", True)


def test_methods_are_chosen_and_all_others_can_be(engine: InlineEngine) -> None:
    page = opened(**OTHER, step_methods=["ASI", "Lean vanilla", "8-bit"])
    engine.work()
    drawn(page)
    assert not page.warning
    assert [label.removesuffix(" peak (formula)") for label in peaks(page)] == [
        "ASI",
        "Lean vanilla",
        "8-bit",
    ]
    assert "lean vanilla's at 14 MiB" in texts(page.markdown)
    page.multiselect(key="step_methods").set_value(["plain"])
    drawn(page)
    drawn(page)
    alone = "Vanilla's step peaks at 24 MiB in the backward pass of conv, and keeps 20 MiB"
    assert alone in texts(drawn_after(engine, page).markdown)
    page.multiselect(key="step_methods").set_value([])
    assert "No method is chosen" in texts(drawn(page).info)
    assert not page.metric


def drawn_after(engine: InlineEngine, page: AppTest) -> AppTest:
    engine.work()
    return drawn(page)


def test_a_failed_formula_is_one_sentence_and_is_repeated_by_a_click_only(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(spec: RunSpec, pool: Any) -> dict[str, Any]:
        raise InvalidInput("a rule", 7, "do otherwise")

    sound = JOB_KINDS["timeline_formula"]
    monkeypatch.setitem(JOB_KINDS, "timeline_formula", replace(sound, answer=fail))
    page = opened(**OTHER)
    drawn_after(engine, page)
    (reason,) = [error.value for error in page.error]
    assert reason == "No formula of ASI, Vanilla, Lean vanilla: a rule, got 7: do otherwise."
    assert engine.jobs == []
    monkeypatch.setitem(JOB_KINDS, "timeline_formula", sound)
    click(page, "Try again")
    assert len(engine.jobs) == 3
    drawn_after(engine, page)
    assert len(page.metric) == 3
    assert not page.error


def test_what_has_no_room_in_the_queue_waits_on_the_page(engine: InlineEngine) -> None:
    store = JobStore(read_settings().database_url)
    earlier = request_job(
        store, "calibrate", RunSpec(method=Vanilla()), visitor.owner(), again=True
    )
    page = opened(**OTHER)
    assert "Earlier requests of yours" in texts(page.info)
    assert engine.jobs == []
    store.fail(earlier.id, str(store.attempts.claim(earlier.id)), "it broke.")
    drawn(page)
    assert len(engine.jobs) == 3
    assert "Queued in the worker" in texts(page.info)


def test_a_moved_slider_leaves_few_formulas_behind(engine: InlineEngine) -> None:
    page = opened(**OTHER)
    for layers in range(4, 12):
        page.session_state["layers"] = layers
        drawn(page)
    assert {spec.layers for spec in requested(engine)} == {3}
    drawn_after(engine, page)
    assert {spec.layers for spec in requested(engine)} == {11}
    assert len(peaks(drawn_after(engine, page))) == 3


def test_more_methods_than_may_be_queued_come_one_after_the_other(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_MAX_QUESTIONS_PER_OWNER", "2")
    page = opened(**OTHER)
    assert len(engine.jobs) == 2
    drawn_after(engine, page)
    assert not page.error
    assert len(peaks(drawn_after(engine, page))) == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"micro_batch": "65"}, "the micro-batch must be at most 64"),
        ({"micro_batch": "0"}, "micro-batch must be at least 1"),
        ({"batch_size": "-4"}, "batch size must be at least 1"),
    ],
)
def test_numbers_that_mean_nothing_are_one_sentence(query: dict[str, str], expected: str) -> None:
    page = opened(**ONE_RANK, **query)
    assert expected in texts(page.error)
    assert not page.metric


def test_a_measurement_is_drawn_on_demand_and_stands_beside_the_formula(
    engine: InlineEngine,
) -> None:
    page = opened(**OTHER, measure="true", source="measured")
    drawn_after(engine, page)
    click(page, "Measure ASI")
    drawn_after(engine, page)
    assert list(peaks(page))[:2] == ["ASI peak (measured)", "Vanilla peak (formula)"]
    assert "Measured on this machine: ASI." in texts(page.caption)
    (table,) = [element.value for element in page.table]
    assert list(zip(table["method"], table["numbers"], strict=True)) == [
        ("ASI", "formula"),
        ("ASI", "measured"),
        ("Vanilla", "formula"),
        ("Lean vanilla", "formula"),
    ]
    page.radio(key="source").set_value("formula")
    assert next(iter(peaks(drawn(page)))) == "ASI peak (formula)"


def test_a_measured_peak_that_differs_from_the_formulas_is_told(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def larger(spec: RunSpec, pool: Any) -> dict[str, Any]:
        found = made_up(spec, "measured")
        last = replace(found.moments[1], inside_bytes=9 * MIB)
        return replace(found, moments=(found.moments[0], last)).as_dict()

    kind = JOB_KINDS["timeline"]
    page = drawn_after(engine, opened(**OTHER, measure="true"))
    click(page, "Measure Vanilla")
    assert not drawn_after(engine, page).warning, "equal ones are not"
    monkeypatch.setitem(JOB_KINDS, "timeline", replace(kind, answer=larger))
    click(page, "Measure ASI")
    (told,) = [
        warning.value.replace(THIN_SPACE, " ") for warning in drawn_after(engine, page).warning
    ]
    assert told.startswith("ASI: the measured peak is 11 MiB, the formula's is 6 MiB. 9 MiB of")


def test_the_downloaded_numbers_are_bytes_and_the_parts_add_up() -> None:
    spec = RunSpec(method=Vanilla(), lean=False)
    known = [KnownStep(Step("plain", spec), "1", made_up(spec, "formula"))]
    rows = pd.read_csv(BytesIO(csv_bytes(number_rows(known))))
    (row,) = rows.to_dict("records")
    assert (row["method"], row["source"], row["peak_phase"]) == ("Vanilla", "formula", "backward")
    assert (row["kept_bytes"], row["peak_bytes"], row["before_bytes"]) == (
        20 * MIB,
        24 * MIB,
        MIB,
    )
    parts = ("peak_pooling_bytes", "peak_inside_operators_bytes")
    assert sum(row[part] for part in parts) == row["peak_bytes"]


def test_two_of_many_micro_batches_are_drawn_and_said(engine: InlineEngine) -> None:
    page = opened(**OTHER, micro_batch="8")
    drawn_after(engine, page)
    assert "The formula draws two of the micro-batches" in texts(page.caption)
