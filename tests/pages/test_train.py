"""The Train page without a browser; the worker is replaced by running in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.runs import worker
from asi_core.runs.store import RunStore
from asi_core.settings import read_settings
from asi_core.zoo.cards import MODELS
from dashboard import services

PAGE = str(Path(__file__).parents[2] / "pages" / "train.py")
BUTTON = "Train and compare"


class InlineEngine:
    """Executes what is submitted when told to, in this process."""

    def __init__(self) -> None:
        self.waiting: list[str] = []

    def submit(self, run_id: str) -> None:
        self.waiting.append(run_id)

    def work(self) -> None:
        for run_id in self.waiting:
            worker.execute(run_id, read_settings().database_url)
        self.waiting.clear()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    st.cache_resource.clear()
    inline = InlineEngine()
    monkeypatch.setattr(services, "engine", lambda: inline)
    yield inline
    st.cache_resource.clear()


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def set_small(page: AppTest) -> AppTest:
    for key, value in {"steps": 2, "batch_size": 16, "image_size": 32, "layers": 2}.items():
        page.number_input(key=key).set_value(value)
    page.run()
    assert not page.exception
    return page


def launch_button(page: AppTest) -> Any:
    return next(button for button in page.button if button.label == BUTTON)


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def test_a_first_visitor_is_told_what_to_do(engine: InlineEngine) -> None:
    page = opened()
    assert not launch_button(page).disabled
    assert "The button above starts a comparison" in texts(page.info)


def test_a_comparison_from_click_to_curves(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    assert not page.exception
    assert len(engine.waiting) == 5
    assert "Waiting for the first step" in texts(page.markdown)
    assert [b.label for b in page.button].count("Cancel") == 5
    engine.work()
    page.run()
    assert not page.exception
    assert {metric.label for metric in page.metric} == {
        "Head alone",
        "Vanilla",
        "ASI",
        "HOSVD",
        "Gradient filter",
    }
    assert all(metric.value.endswith("%") for metric in page.metric)
    assert "ASI keeps" in texts(page.markdown)
    assert "less, at" in texts(page.markdown)
    assert texts(page.caption).count("completed after 2 steps") == 5
    charts = page.get("plotly_chart")
    assert len(charts) == 6


def test_the_head_alone_is_queued_last_and_shown_first(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    store = RunStore(read_settings().database_url)
    runs = store.latest_comparisons(1)[0]
    assert runs[0].spec.layers == 0
    assert engine.waiting[-1] == runs[0].id


def test_a_queued_run_can_be_cancelled(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    next(button for button in page.button if button.label == "Cancel").click()
    page.run()
    assert "cancelled after 0 steps" in texts(page.caption)
    engine.work()
    page.run()
    assert texts(page.caption).count("completed after 2 steps") == 4


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("explained_variance", 1.5, "explained variance must be above 0 and at most 1, got 1.5"),
        ("layers", 50, "trained layers must be at most 49"),
        ("batch_size", 6000, "batch size must be at most 5000"),
        ("steps", 0, "steps must be at least 1"),
        ("patch", 0, "patch must be at least 1"),
    ],
)
def test_wrong_numbers_are_told_and_nothing_is_launched(
    engine: InlineEngine, key: str, value: float, expected: str
) -> None:
    page = opened()
    page.number_input(key=key).set_value(value)
    page.run()
    assert not page.exception
    assert expected in texts(page.error)
    assert launch_button(page).disabled


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ("0", "rank must be at least 1, got 0"),
        ("many", "one whole number, or one a mode"),
        ("1, 2", "one a mode of efficientnet_lite0"),
    ],
)
def test_wrong_ranks_are_told(engine: InlineEngine, ranks: str, expected: str) -> None:
    page = opened()
    page.radio(key="ranks_from").set_value("Given ranks")
    page.run()
    page.text_input(key="ranks").set_value(ranks)
    page.run()
    assert not page.exception
    assert expected in texts(page.error)
    assert launch_button(page).disabled


def test_no_method_is_told(engine: InlineEngine) -> None:
    page = opened()
    page.multiselect(key="methods").set_value([])
    page.run()
    assert "choose at least one" in texts(page.error)


def test_unreadable_weights_are_told_and_leave_no_run(
    engine: InlineEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODELS["efficientnet_lite0"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    assert not page.exception
    assert "does not hold the weights" in texts(page.error)
    assert engine.waiting == []
    assert RunStore(read_settings().database_url).latest_comparisons(1) == []


def test_an_unknown_model_in_the_link_is_told(engine: InlineEngine) -> None:
    assert "'nothing', which is unknown" in texts(opened(model="nothing").warning)


def test_a_failed_run_says_why(engine: InlineEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    page = set_small(opened())
    page.number_input(key="learning_rate").set_value(1e30)
    page.number_input(key="clip_norm").set_value(1e30)
    page.number_input(key="steps").set_value(12)
    page.multiselect(key="methods").set_value(["vanilla"])
    page.run()
    launch_button(page).click()
    page.run()
    engine.work()
    page.run()
    assert not page.exception
    assert "lower the learning rate" in texts(page.error)
