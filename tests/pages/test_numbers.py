"""Numbers on all pages: one ratio for one setting, in one wording, with units and signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.methods import ASI
from asi_core.units import THIN_SPACE, less_or_more
from dashboard.learn.page import LESSONS
from dashboard.navigation import PAGES
from tests.pages.inline import InlineEngine, inline_engine

pytestmark = pytest.mark.usefixtures("opened_before")
FOLDER = Path(__file__).parents[2] / "pages"
SHIPPED = "ASI, 80 % variance, every step"
RATIO = re.compile(rf"(\d[\d.,]*{THIN_SPACE}× less)")
# A ratio that does not tell its direction, and a hyphen in place of a minus.
WRONG = re.compile(rf"\d[\s{THIN_SPACE}]?[×x] (?:memory|cost|vanilla)\b|(?<![\w.–-])-\d")


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    yield from inline_engine(monkeypatch)


def opened(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(FOLDER / f"{page}.py"), default_timeout=180)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def texts(page: AppTest) -> list[str]:
    """Everything that the page says, without its controls."""
    said = [*page.title, *page.markdown, *page.caption, *page.info, *page.warning, *page.error]
    numbers = [text for m in page.metric for text in (m.label, m.value, m.delta) if text]
    return [*(str(element.value) for element in said), *map(str, numbers)]


def test_one_setting_has_one_ratio_on_all_pages() -> None:
    """ASI at the usual explained variance against vanilla, in Explore's first view."""
    explore = opened("explore")
    (card,) = [m for m in explore.metric if m.label == f"{ASI.label} keeps"]
    ratios = {"card": RATIO.findall(card.delta)[0], "answer": RATIO.findall(_answer(explore))[0]}
    train = opened("train", comparison="example-methods")
    ratios["train"] = RATIO.findall(_answer(train))[0]
    ratios["runs"] = next(
        found[0]
        for caption in train.caption
        if "× less than vanilla" in caption.value and (found := RATIO.findall(caption.value))
    )
    tasks = opened("compare").selectbox(key="task").options
    (task,) = (name for name in tasks if "Fashion-MNIST" in name)
    rows = opened("compare", by_seed="false", task=task).dataframe[0].value.set_index("run")
    kept = rows["activation memory (formula)"]
    seed = next(name for name in kept.index if name.startswith(f"{SHIPPED}, seed 0"))
    vanilla = next(name for name in kept.index if name.startswith("Vanilla, seed 0"))
    ratios["compare"] = less_or_more(kept[seed], kept[vanilla])
    assert len(set(ratios.values())) == 1, ratios


def test_the_ratio_of_a_lesson_is_that_of_compare() -> None:
    """ASI of 12 layers against vanilla, means over the seeds of the shipped study."""
    task = "MCUNet-in1 · Images in cifar10_small.zip · 600 steps of 64 · 128 px"
    rows = opened("compare", task=task).dataframe[0].value.set_index("run")
    kept = rows["activation memory (formula)"]
    ratio = less_or_more(kept[f"{SHIPPED}, 12 layers"], kept["Vanilla, 12 layers"])
    lesson = opened("learn", topic="trade-offs")
    assert RATIO.findall("".join(texts(lesson))) == [ratio]


def _answer(page: AppTest) -> str:
    return next(m.value for m in page.markdown if m.value.startswith("##### "))


@pytest.mark.parametrize("name", [page.file for page in PAGES])
def test_numbers_have_one_wording_and_real_signs(name: str) -> None:
    said = texts(opened(name))
    wrong = [text for text in said if WRONG.search(_without_code(text))]
    assert not wrong


@pytest.mark.parametrize("slug", LESSONS)
def test_the_numbers_of_all_lessons_are_worded_alike(slug: str) -> None:
    page = opened("learn", **{"topic": slug, f"{slug}-guess": "5"})
    assert not [text for text in texts(page) if WRONG.search(_without_code(text))]


def _without_code(text: str) -> str:
    return re.sub(r"`[^`]*`|\$[^$]*\$", "", text)


def test_cards_have_units() -> None:
    for name in ("explore", "compare", "train"):
        for metric in opened(name).metric:
            assert re.search(r"[A-Za-z%–]", metric.value), (name, metric.label, metric.value)
