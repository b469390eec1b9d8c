"""The Learn page without a browser and without a worker."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.runs.store.guesses import CLASS_CODE
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.units import THIN_SPACE, three_digits
from asi_core.zoo.cards import MODELS
from asi_core.zoo.shapes import trained_layer_shapes
from dashboard import services
from dashboard.learn.page import LESSONS
from tests.dashboard.learn_runs import add_replay, add_study

PAGE = str(Path(__file__).parents[2] / "pages" / "learn.py")
STAGES = ["1 · Predict", "2 · Run", "3 · Reveal", "4 · Take home"]
LOCK, AGAIN = "Lock in my guess", "Guess again"
GUESSES = {"memory": 60, "low-rank": 3, "warm-start": 40, "trade-offs": 5.0, "alternatives": 40}
# The results of the made-up runs.
TRUTHS = {"low-rank": "1 directions", "warm-start": "75 %", "trade-offs": "3.5 points"}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """An empty store without measurements or shipped runs; starting a worker fails the test."""
    st.cache_resource.clear()
    url = read_settings().database_url
    empty, no_jobs = RunStore(url), JobStore(url)
    monkeypatch.setattr(services, "store", lambda: empty)
    monkeypatch.setattr(services, "jobs", lambda: no_jobs)
    monkeypatch.setattr(services, "engine", lambda: pytest.fail("a lesson needs no worker"))
    yield empty
    st.cache_resource.clear()


@pytest.fixture
def evidence(store: RunStore) -> RunStore:
    """A store with a run to replay and a study to choose from."""
    add_replay(store)
    add_study(store)
    return store


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key.replace("_guess", "-guess")] = value
    return run(page)


def run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def address(page: AppTest) -> dict[str, str]:
    """The query; AppTest holds initial values as lists, and later ones as text."""
    query = page.query_params
    return {key: text if isinstance(text, str) else text[0] for key, text in query.items()}


def stages(page: AppTest) -> list[str]:
    return [heading.value for heading in page.subheader]


def charts(page: AppTest) -> int:
    return len(page.get("bidi_component"))


def controls(page: AppTest) -> dict[str, Any]:
    widgets = [*page.slider, *page.select_slider, *page.selectbox]
    return {str(w.key).removeprefix("learn-"): w for w in widgets}


def guessed(slug: str, **query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    given = {"topic": slug, f"{slug}-guess": f"{GUESSES[slug]:g}", **query}
    for key, value in given.items():
        page.query_params[key] = value
    return run(page)


def memory_truth() -> str:
    shapes = trained_layer_shapes("efficientnet_lite0", "all", 64, 96)
    inputs = sum(prod(shape.input_shape) for shape in shapes)
    return f"{three_digits(inputs / sum(prod(s.weight_shape) for s in shapes))} ×"


def kept_by_lora() -> str:
    """From shapes: the layers' inputs, and 8 channels at each position of the outputs, of depthwise
    layers as many as they have."""
    shapes = trained_layer_shapes("efficientnet_lite0", "all", 64, 96)
    inputs = sum(prod(shape.input_shape) for shape in shapes)
    between = sum(
        prod(shape.output_shape)
        if shape.geometry.groups > 1
        else 8 * prod(shape.output_shape) // shape.output_shape[1]
        for shape in shapes
    )
    return f"{three_digits(100 + 100 * between / inputs)} %"


def truth(slug: str) -> str:
    known = {**TRUTHS, "memory": memory_truth(), "alternatives": kept_by_lora()}
    return known[slug].replace(" ", THIN_SPACE)


@pytest.mark.parametrize("slug", LESSONS)
def test_before_the_guess_the_answer_is_hidden(evidence: RunStore, slug: str) -> None:
    page = opened(topic=slug)
    assert stages(page) == STAGES[:1]
    # What the question is about.
    assert charts(page) == 1
    assert "You guessed" not in texts(page.markdown)
    assert truth(slug) not in texts(page.markdown)
    assert [widget.key for widget in page.slider] == [f"{slug}-slider"]


@pytest.mark.parametrize("slug", LESSONS)
def test_a_guess_opens_the_experiment_and_the_answer(evidence: RunStore, slug: str) -> None:
    page = opened(topic=slug)
    page.slider(key=f"{slug}-slider").set_value(GUESSES[slug])
    button(page, LOCK).click()
    run(page)
    assert stages(page) == STAGES
    assert f"it is {truth(slug)}" in texts(page.markdown)
    assert f"You guessed {three_digits(GUESSES[slug])}{THIN_SPACE}" in texts(page.markdown)
    assert charts(page) >= 3
    assert address(page)[f"{slug}-guess"] == f"{GUESSES[slug]:g}"
    assert "A hint" in [expander.label for expander in page.expander]
    button(page, AGAIN).click()
    run(page)
    assert stages(page) == STAGES[:1]
    assert f"{slug}-guess" not in page.query_params


@pytest.mark.parametrize("slug", LESSONS)
def test_a_lesson_works_without_any_run(store: RunStore, slug: str) -> None:
    page = opened(topic=slug)
    assert stages(page) == STAGES[:1]
    page = guessed(slug)
    assert stages(page) == STAGES
    assert "missing from" in texts(page.info)
    assert "it is " in texts(page.markdown)
    assert charts(page) >= 2


@pytest.mark.usefixtures("opened_before")
@pytest.mark.parametrize("slug", LESSONS)
def test_what_is_shipped_is_enough_for_a_lesson(slug: str) -> None:
    st.cache_resource.clear()
    page = guessed(slug)
    assert stages(page) == STAGES
    assert texts(page.info) == ""
    st.cache_resource.clear()


@pytest.mark.parametrize("has_runs", [True, False])
@pytest.mark.parametrize("slug", LESSONS)
def test_explanations_are_short(store: RunStore, slug: str, has_runs: bool) -> None:
    if has_runs:
        add_replay(store)
        add_study(store)
    words = LESSONS[slug].reveal(GUESSES[slug]).explanation.split()
    assert 40 <= len(words) <= 120


CHANGED = {
    "memory": {"model": "resnet18", "layers": "7", "batch_size": "16", "image_size": "64"},
    "low-rank": {
        "layer": "narrow",
        "step": "30",
        "explained_variance": "0.95",
        "picture": "Bag",
        "picture_rank": "9",
    },
    "warm-start": {"layer": "wide", "step": "30", "angle": "45", "rank": "16"},
    "trade-offs": {"budget_kib": "16", "memory": "measured", "rank": "2"},
    "alternatives": {"depth": "4", "micro_batch": "16"},
}


@pytest.mark.parametrize("slug", LESSONS)
def test_a_link_with_every_control_changed_shows_the_same(evidence: RunStore, slug: str) -> None:
    page = guessed(slug)
    for key, text in CHANGED[slug].items():
        widget = controls(page)[key]
        assert not widget.disabled
        widget.set_value(type(widget.value)(text))
        run(page)
    link = address(page)
    assert {key: link[f"lesson-{key}"] for key in CHANGED[slug]} == CHANGED[slug]
    again = guessed(slug, **link)
    # Links of earlier versions have no prefix.
    assert texts(guessed(slug, **CHANGED[slug]).markdown) == texts(again.markdown)
    assert set(controls(again)) == set(CHANGED[slug])
    assert texts(again.markdown) == texts(page.markdown)
    assert texts(again.markdown) != texts(guessed(slug).markdown)


def test_another_model_starts_anew_with_its_layers_and_sizes(store: RunStore) -> None:
    page = guessed("memory", layers="49", image_size="256")
    controls(page)["model"].set_value("vit_b_32")
    run(page)
    assert texts(page.warning) == ""
    assert controls(page)["layers"].value == MODELS["vit_b_32"].layer_count
    assert not {"image_size", "lesson-image_size"} & set(page.query_params)


@pytest.mark.parametrize("model", MODELS)
def test_the_memory_of_every_model(store: RunStore, model: str) -> None:
    page = guessed("memory", model=model)
    assert "of inputs for" in texts(page.markdown)


def test_the_spectra_follow_the_explained_variance(evidence: RunStore) -> None:
    page = guessed("low-rank", explained_variance="0.95")
    assert page.metric[0].value == "3 × 3 × 3 × 3"
    assert page.metric[2].value == f"4{THIN_SPACE}%"


@pytest.mark.parametrize(
    ("budget", "memory", "expected"),
    [
        ("64", "formula", "ASI, 80 % variance, 1 layer"),
        ("256", "formula", "ASI, 80 % variance, 12 layers"),
        ("16384", "formula", "Vanilla, 12 layers"),
        ("16", "measured", "Nothing fits into"),
        ("512", "measured", "ASI, 80 % variance, 1 layer"),
        ("32", "measured", "Nothing fits into"),
    ],
)
def test_a_budget_picks_a_run(evidence: RunStore, budget: str, memory: str, expected: str) -> None:
    page = guessed("trade-offs", budget_kib=budget, memory=memory)
    assert expected in texts(page.markdown)


# Lecturer's links ---------------------------------------------------------------------------------


def test_a_lecturers_link_shows_one_lesson_and_fixes_what_it_names(evidence: RunStore) -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params["lesson"] = "low-rank"
    page.query_params["explained_variance"] = "0.9"
    run(page)
    assert texts(page.title) == LESSONS["low-rank"].title
    assert "learn-topic" not in [group.key for group in page.get("button_group")]
    assert "Link for your class" not in [expander.label for expander in page.expander]
    button(page, LOCK).click()
    run(page)
    fixed = controls(page)["explained_variance"]
    assert fixed.disabled
    assert fixed.value == 0.9
    assert "fixed" in fixed.label
    others = {key: w for key, w in controls(page).items() if key != "explained_variance"}
    assert set(others) == {"layer", "step", "picture", "picture_rank"}
    assert not any(widget.disabled for widget in others.values())
    assert "Next: " not in "".join(found.label for found in page.button)
    assert not page.get("link_button")


def test_what_a_class_moves_is_not_fixed_by_it(evidence: RunStore) -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params["lesson"] = "warm-start"
    page.query_params["warm-start-guess"] = "50"
    run(page)
    for angle in (30, 60):
        controls(page)["angle"].set_value(angle)
        run(page)
        assert controls(page)["angle"].value == angle
        assert not controls(page)["angle"].disabled
        assert f"At {angle}° per step" in texts(page.markdown)
    assert "angle" not in page.query_params


def test_a_fixed_value_that_is_also_the_usual_one_stays_fixed(evidence: RunStore) -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params["lesson"] = "warm-start"
    page.query_params["warm-start-guess"] = "50"
    page.query_params["angle"] = "10"
    for _ in range(2):
        run(page)
        assert controls(page)["angle"].disabled
        assert address(page)["angle"] == "10"


def test_the_link_for_the_class_has_the_present_state_and_no_guess(evidence: RunStore) -> None:
    page = guessed("low-rank", explained_variance="0.95", picture="Bag")
    link = parse_qs(page.code[0].value.partition("?")[2])
    (code,) = link.pop("class")
    assert CLASS_CODE.fullmatch(code)
    assert link == {
        "lesson": ["low-rank"],
        "layer": ["wide"],
        "step": ["60"],
        "explained_variance": ["0.95"],
        "picture": ["Bag"],
        "picture_rank": ["4"],
    }
    page.multiselect(key="low-rank-fixed").set_value(["explained_variance"])
    run(page)
    link = parse_qs(page.code[0].value.partition("?")[2])
    # Another question has another class.
    assert link.pop("class") != [code]
    assert link == {"lesson": ["low-rank"], "explained_variance": ["0.95"]}


def test_before_the_guess_there_is_a_link_too(evidence: RunStore) -> None:
    assert "?lesson=memory&class=" in opened(topic="memory").code[0].value


def test_the_first_lesson_asks_about_the_network_that_a_link_fixes(evidence: RunStore) -> None:
    page = opened(lesson="1", model="mcunet_in1", layers="4", batch_size="8", memory_guess="3")
    question, shown = page.markdown[0].value, texts(page.markdown)
    assert "The last 4 convolutions of MCUNet" in question
    assert "batches of 8 images" in question
    shapes = trained_layer_shapes("mcunet_in1", 4, 8, int(controls(page)["image_size"].value))
    inputs = sum(prod(shape.input_shape) for shape in shapes)
    ratio = three_digits(inputs / sum(prod(shape.weight_shape) for shape in shapes))
    assert f"it is {ratio}{THIN_SPACE}×" in shown
    assert f"of weights: {ratio}{THIN_SPACE}×" in shown


@pytest.mark.usefixtures("opened_before")
def test_the_first_lesson_shows_its_own_network_at_first() -> None:
    st.cache_resource.clear()
    shown = texts(guessed("memory").markdown)
    ratio = memory_truth().replace(" ", THIN_SPACE)
    assert f"it is {ratio}" in shown
    assert f"of weights: {ratio}" in shown
    st.cache_resource.clear()


@pytest.mark.parametrize(("number", "slug"), list(enumerate(LESSONS, start=1)))
def test_lessons_have_numbers(evidence: RunStore, number: int, slug: str) -> None:
    assert texts(opened(lesson=str(number)).title) == LESSONS[slug].title


# Wrong links --------------------------------------------------------------------------------------


def test_a_wrong_lesson_is_reported_with_those_that_there_are(evidence: RunStore) -> None:
    page = opened(lesson="nothing")
    assert "'nothing', which is unknown" in texts(page.warning)
    titles = [lesson.title for lesson in LESSONS.values()]
    assert [found.label for found in page.button] == titles
    button(page, titles[2]).click()
    run(page)
    assert texts(page.title) == titles[2]
    assert address(page)["lesson"] == "warm-start"


def test_a_wrong_topic_is_reported(evidence: RunStore) -> None:
    page = opened(topic="nothing")
    assert "'nothing', which is unknown" in texts(page.warning)
    assert texts(page.header) == LESSONS["memory"].title


@pytest.mark.parametrize("text", ["", "much", "nan", "inf", "-1", "101"])
def test_a_wrong_guess_is_reported_and_can_be_made_again(evidence: RunStore, text: str) -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params["topic"] = "warm-start"
    page.query_params["warm-start-guess"] = text
    run(page)
    assert "a guess must be a number from 0 to 100" in texts(page.warning)
    assert stages(page) == STAGES[:1]
    button(page, LOCK).click()
    assert stages(run(page)) == STAGES


@pytest.mark.parametrize("mode", ["topic", "lesson"])
@pytest.mark.parametrize(
    ("slug", "key", "text"),
    [
        ("memory", "model", "nothing"),
        ("memory", "layers", "50"),
        ("memory", "layers", "2.5"),
        ("memory", "batch_size", "3"),
        ("low-rank", "explained_variance", "nan"),
        ("low-rank", "explained_variance", "2"),
        ("low-rank", "layer", "nothing"),
        ("low-rank", "step", "31"),
        ("warm-start", "angle", "-5"),
        ("trade-offs", "budget_kib", "much"),
        ("trade-offs", "memory", ""),
    ],
)
def test_a_wrong_value_is_reported_and_its_control_is_free(
    evidence: RunStore, mode: str, slug: str, key: str, text: str
) -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params[mode] = slug
    page.query_params[f"{slug}-guess"] = f"{GUESSES[slug]:g}"
    page.query_params[key] = text
    run(page)
    assert re.search(rf"In the link, {key} must be .*, got '{text}'", texts(page.warning))
    assert stages(page) == STAGES
    assert not controls(page)[key].disabled


# Between lessons ----------------------------------------------------------------------------------


def test_a_visitor_goes_through_all_lessons(evidence: RunStore) -> None:
    page = opened()
    for slug, lesson in LESSONS.items():
        assert texts(page.header) == lesson.title
        page.slider(key=f"{slug}-slider").set_value(GUESSES[slug])
        button(page, LOCK).click()
        run(page)
        following = [found for found in page.button if found.label.startswith("Next: ")]
        if following:
            following[0].click()
            run(page)
    assert not following
    # All guesses are kept.
    assert len([key for key in page.query_params if key.endswith("-guess")]) == len(LESSONS)


def test_no_lesson_imports_torch() -> None:
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
for slug, guess in {GUESSES!r}.items():
    page = AppTest.from_file({PAGE!r}, default_timeout=180)
    page.query_params["topic"], page.query_params[f"{{slug}}-guess"] = slug, str(guess)
    page.run()
    assert not page.exception
    assert len(page.subheader) == {len(STAGES)}
sys.exit("torch" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(PAGE).parents[1], check=False, capture_output=True
    )
    assert result.returncode == 0, result.stderr.decode()
