"""The Poster page without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.methods import ASI, Vanilla
from asi_core.poster import Cell, poster_rows
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard import services
from dashboard.poster.cells import verdict_badge
from dashboard.poster.here import claims

pytestmark = pytest.mark.usefixtures("opened_before")
PAGE = str(Path(__file__).parents[2] / "pages" / "poster.py")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def counted(convention: Any) -> dict[str, int]:
    cells = [c for row in poster_rows(convention) for c in (row.memory, row.cost)]
    return {v: sum(c.verdict == v for c in cells) for v in ("exact", "close", "not computable")}


def test_the_counts_are_reported_and_every_cell_is_shown() -> None:
    page, counts = opened(), counted("paper")
    assert f"{counts['exact']} of 68 cells equal the printed digits" in texts(page.markdown)
    assert [int(m.value) for m in page.metric] == list(counts.values())
    shown = page.table[0].value
    assert len(shown) == 34
    badges = [*shown["Memory"], *shown["Cost"]]
    assert sum("✓ exact" in badge for badge in badges) == counts["exact"]
    assert sum("≈ within" in badge for badge in badges) == counts["close"]
    assert sum("– not computable" in badge for badge in badges) == counts["not computable"]
    assert list(shown.iloc[0])[:3] == ["MobileNetV2", "Vanilla", "all"]
    assert list(shown.iloc[0])[3:5] == ["1651.84", "1651.84"]


def test_no_cell_is_further_off_than_the_sentence_says() -> None:
    sentence = texts(opened().markdown)
    near = [c for r in poster_rows("paper") for c in (r.memory, r.cost) if c.verdict == "close"]
    message = float(sentence.split(" within ")[1].split(" ")[0])
    assert max(abs(100 * (cell.deviation or 0)) for cell in near) <= message


def test_the_exact_convention_says_that_it_counts_otherwise() -> None:
    page = opened(convention="exact")
    assert page.button_group(key="convention").value == "exact"
    assert "Counted as the code executes it" in texts(page.markdown)
    shown = page.table[0].value
    assert "≠ 14.6\u202f× less" in shown["Cost"][0]
    assert set(shown["Memory"][:4]) == {":green-badge[✓ exact]"}


def test_rows_are_filtered_and_a_link_does_the_same() -> None:
    page = opened()
    page.multiselect(key="models").set_value(["resnet18"])
    page.multiselect(key="poster_methods").set_value(["asi", "vanilla"])
    page.run()
    assert not page.exception
    shown = page.table[0].value
    assert set(shown["Model"]) == {"ResNet-18"}
    assert set(shown["Method"]) == {"ASI", "Vanilla"}
    linked = opened(**page.query_params)
    again = opened(models="ResNet-18", poster_methods="ASI")
    assert set(again.table[0].value["Method"]) == {"ASI"}
    assert linked.table[0].value is not None


def test_no_row_is_reported() -> None:
    page = opened(models="nothing", convention="other")
    assert "of 68 cells" in texts(page.markdown), "what is unknown is ignored"
    only_asi = opened(poster_methods="ASI")
    assert "0 of 16 cells equal the printed digits" in texts(only_asi.markdown)


def test_what_was_measured_is_reported_with_what_cannot_be() -> None:
    page = opened()
    message = page.table[2].value
    assert "ImageNet" in message["The poster says"][0]
    assert "120.09 ×" in " ".join(message["The poster says"])
    measured = page.dataframe[-1].value
    assert set(measured["where"]) == {"shipped"}
    assert list(measured["formula_bytes"]) == list(measured["layers_measured_bytes"])
    assert (measured["all_saved_bytes"] > measured["formula_bytes"]).all()


def test_the_study_is_drawn_and_told_at_equal_accuracy() -> None:
    page = opened()
    equal = page.table[1].value
    assert list(equal)[:2] == ["Vanilla trains", "and reaches"]
    assert "ASI, 80 % variance" in list(equal)
    assert equal["Vanilla trains"].str.endswith("layers").all()
    message = dict(zip(*(page.table[2].value[c] for c in ("The poster says", "Here")), strict=True))
    (here,) = [message[said] for said in message if "120.09" in said]
    best = max(
        float(cell.split("\u202f×")[0])
        for label in list(equal)[2:]
        for cell in equal[label]
        if cell != "not reached"
    )
    assert here.startswith(f"{best:.0f} × less memory")


@pytest.mark.usefixtures("empty_store")
def test_without_the_study_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = RunStore(read_settings().database_url)
    monkeypatch.setattr(services, "store", lambda: empty)
    page = opened()
    message = " ".join(page.table[1].value["Here"])
    assert "not measured: the shipped study is not in this store" in message


@pytest.mark.usefixtures("empty_store")
def test_without_measurements_the_way_to_one_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from asi_core.runs.store.job_store import JobStore

    monkeypatch.setattr(services, "jobs", lambda: JobStore(read_settings().database_url))
    assert "Explore page measures" in texts(opened().info)


@pytest.mark.usefixtures("empty_store")
def test_step_times_come_from_a_comparison_that_ran_both() -> None:
    store = RunStore(read_settings().database_url)
    assert claims(store)[-1].here == "not measured yet"
    specs = [RunSpec(method=Vanilla()), RunSpec(method=ASI(ranks=2))]
    for run, backward in zip(store.create(specs, "me"), (0.04, 0.01), strict=True):
        assert claims(store)[-1].here == "not measured yet"
        token = store.attempts.claim(run.id)
        assert token is not None
        seconds = {"backward_median": backward, "step_median": 0.1}
        store.finish(run.id, token, "completed", {"seconds": seconds})
    here = claims(store)[-1].here.replace("\u202f", " ")
    assert "backward 10 ms against vanilla's 40 ms" in here


@pytest.mark.parametrize(
    ("computed", "expected"),
    [
        (10.0, ":green-badge[✓ exact]"),
        (10.25, ":orange-badge[≈ within 2.50 %]"),
        (2.0, ":violet-badge[≠ 5\u202f× less]"),
        (20.0, ":violet-badge[≠ 2\u202f× more]"),
        (None, ":gray-badge[– not computable]"),
    ],
)
def test_verdicts_read_without_colours(computed: float | None, expected: str) -> None:
    verdict: Any = "not computable" if computed is None else "exact" if computed == 10 else "close"
    assert verdict_badge(Cell(10.0, computed, verdict, "")) == expected
