"""Kept runs of one's own network on Compare, Spectra and Train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core import keep_run
from asi_core.results.verdict import judge
from dashboard import services
from dashboard.compare.controls import View
from dashboard.compare.report import build_report
from tests.own_runs import ASI, kept, training

PAGES = Path(__file__).parents[2] / "pages"


class NoEngine:
    """Starts nothing."""

    def submit(self, run_id: str) -> None:
        raise AssertionError(run_id)


@pytest.fixture(autouse=True)
def comparison(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The comparison of a vanilla and an ASI run; no worker and no shipped examples."""
    st.cache_resource.clear()
    monkeypatch.setattr(services, "engine", lambda: NoEngine())
    monkeypatch.setattr(services, "import_examples", lambda store, folder: None)
    monkeypatch.setattr(services, "warm_up", lambda: None)
    kept()
    yield kept(ASI).comparison
    st.cache_resource.clear()


def opened(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def texts(*elements: Any) -> str:
    return "\n".join(str(element.value) for kind in elements for element in kind)


def test_compare_judges_them_as_all_others(comparison: str) -> None:
    page = opened("compare")
    (task,) = page.selectbox(key="task").options
    assert task.startswith("tiny (own) · dots (own) · 6 steps of 8 · 3 × 10 × 10 · start ")
    rows = page.dataframe[0].value
    assert list(rows["run"]) == ["ASI, rank 2", "Vanilla"]
    assert rows["activation memory (formula)"].notna().all()
    assert page.multiselect(key="only_model").options == ["tiny (own)"]
    assert page.multiselect(key="only_dataset").options == ["dots (own)"]
    assert "vanilla" in texts(page.markdown)
    assert not page.warning
    assert not page.error


def test_the_report_has_the_call_instead_of_a_command(comparison: str) -> None:
    opened("compare")
    from asi_core.results.outcomes import outcomes_by_seed

    runs = services.store().comparison(comparison)
    outcomes = outcomes_by_seed(runs)
    view = View("tiny", runs, outcomes, 0.01, {comparison: "first try"})
    report = build_report(view, judge(outcomes, 0.01), outcomes).decode()
    assert "fine_tune(" in report
    assert "asi_core train" not in report
    assert "own/tiny" in report


def test_spectra_of_a_convolution_have_pictures_and_drift(comparison: str) -> None:
    page = opened("spectra", comparison=comparison)
    assert "tiny (own)" in page.selectbox(key="spectra_comparison").options[0]
    assert page.selectbox(key="layer").value == "2"
    assert "of 8 channel directions" in texts(page.markdown)
    # The rank of a mode that the next layer does not have.
    page.segmented_control(key="mode").set_value("channel").run()
    page.selectbox(key="layer").set_value("6").run()
    assert not page.exception
    assert "feature directions" in texts(page.markdown)
    assert "2 modes has no picture" in texts(page.info)
    assert page.segmented_control(key="mode").options == ["Batch", "Features"]


def test_what_vanilla_does_not_have_is_said_instead_of_drawn() -> None:
    alone = keep_run(training(), network="tiny", data="dots")
    page = opened("spectra", comparison=alone.comparison)
    assert texts(page.caption).count("nothing to draw for these runs") == 4


def test_train_shows_them_and_how_to_train_them_again(comparison: str) -> None:
    page = opened("train", comparison=comparison)
    assert "ASI keeps" in texts(page.markdown)
    assert not page.warning
    assert not page.error
