"""Guesses of a class: each session's counts once, and the lecturer's screen shows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import streamlit as st
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from asi_core.figures.lessons.guess import plot_guesses
from asi_core.figures.style import Figure
from dashboard import services
from dashboard.learn import screen
from dashboard.learn.page import LESSONS

PAGE = str(Path(__file__).parents[2] / "pages" / "learn.py")
CLASS, SLUG = "abcdefgh", "warm-start"


@pytest.fixture(autouse=True)
def fresh(opened_before: None) -> Iterator[None]:
    """The shipped examples, and a store of guesses of its own."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[float], float | None]]:
    """The guesses and the true value of each histogram."""
    found: list[tuple[Sequence[float], float | None]] = []

    def watched(guesses: Sequence[float], truth: float | None, **how: Any) -> Figure:
        found.append((guesses, truth))
        return plot_guesses(guesses, truth, **how)

    monkeypatch.setattr(screen, "plot_guesses", watched)
    return found


def student() -> None:
    """The part of a lesson's page in which a student guesses."""
    from dashboard.learn import address, classes
    from dashboard.learn.guessing import ask, show_guess
    from dashboard.learn.warm_start import LESSON

    question = LESSON.question()
    guess = address.committed_guess(LESSON.slug, question.parsed)
    code = classes.class_code()
    if guess is None:
        ask(LESSON.slug, question, code)
    else:
        show_guess(LESSON.slug, question, guess, code)


def opened(script: str | Callable[[], None], **query: str) -> AppTest:
    if callable(script):
        page = AppTest.from_function(script, default_timeout=180)
    else:
        page = AppTest.from_file(script, default_timeout=180)
    page.query_params["lesson"] = SLUG
    for key, value in query.items():
        page.query_params[key] = value
    return run(page)


def run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def lock_in(page: AppTest, value: float) -> AppTest:
    page.slider(key=f"{SLUG}-slider").set_value(value)
    page.button(key=f"{SLUG}-commit").click()
    return run(page)


def told(page: AppTest) -> str:
    return "\n".join(element.value for element in page.markdown)


def test_thirty_students_guess_and_the_screen_shows_thirty(
    drawn: list[tuple[Sequence[float], float | None]],
) -> None:
    lecturer = opened(PAGE, **{"class": CLASS, "screen": "1"})
    assert "No guesses yet" in told(lecturer)
    for value in range(30):
        lock_in(opened(student, **{"class": CLASS}), 3 * value)
    run(lecturer)
    assert "30 guesses from 0" in told(lecturer)
    assert drawn[-1] == ([3.0 * value for value in range(30)], None)
    lecturer.button(key="class-show").click()
    run(lecturer)
    guesses, truth = drawn[-1]
    assert len(guesses) == 30
    assert truth == LESSONS[SLUG].reveal(50).truth
    assert "; it is " in told(lecturer)
    lecturer.button(key="class-hide").click()
    run(lecturer)
    assert drawn[-1][1] is None


def test_a_second_guess_of_a_session_replaces_the_first() -> None:
    page = lock_in(opened(PAGE, **{"class": CLASS}), 20)
    assert services.guesses().values(CLASS, SLUG) == [20]
    page.button(key=f"{SLUG}-again").click()
    lock_in(run(page), 70)
    assert services.guesses().values(CLASS, SLUG) == [70]


@pytest.mark.parametrize("value", [1e9, -1.0])
def test_no_guess_out_of_range_is_counted(value: float) -> None:
    lock_in(opened(student, **{"class": CLASS}), value)
    assert all(0 <= guess <= 100 for guess in services.guesses().values(CLASS, SLUG))


def test_without_a_class_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "guesses", lambda: pytest.fail("no class, no guess"))
    lock_in(opened(student), 20)


def test_a_wrong_class_is_reported_and_the_lesson_goes_on() -> None:
    page = opened(student, **{"class": "x' OR 1"})
    assert "class must be a code of 8 letters and digits" in page.warning[0].value
    lock_in(page, 20)


def test_a_read_only_server_says_that_it_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_READ_ONLY", "true")
    page = lock_in(opened(student, **{"class": CLASS}), 20)
    assert "not among those of your class" in page.warning[0].value
    assert "read-only" in page.warning[0].value
    assert services.guesses().values(CLASS, SLUG) == []


def test_a_silent_store_costs_the_guess_and_not_the_lesson(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(services.guesses(), "put", fails)
    page = lock_in(opened(student, **{"class": CLASS}), 20)
    assert "disk full" in page.warning[0].value
    assert "Your guess: " in told(page)
    monkeypatch.setattr(services.guesses(), "values", fails)
    assert "cannot be read at the moment" in told(opened(PAGE, **{"class": CLASS, "screen": "1"}))


def test_the_link_for_the_class_and_the_screen_have_one_code() -> None:
    page = AppTest.from_file(PAGE, default_timeout=180)
    page.query_params["topic"] = SLUG
    page.query_params[f"{SLUG}-guess"] = "50"
    run(page)
    (code,) = parse_qs(page.code[0].value.partition("?")[2])["class"]
    screen_link = page.get("link_button")[-1].proto.url
    assert parse_qs(screen_link.partition("?")[2])["class"] == [code]
    assert parse_qs(screen_link.partition("?")[2])["screen"] == ["1"]
    # Other fixed controls are another question.
    page.multiselect(key=f"{SLUG}-fixed").set_value([])
    run(page)
    assert parse_qs(page.code[0].value.partition("?")[2])["class"] != [code]
    # The screen gives the link again.
    shown = AppTest.from_file(PAGE, default_timeout=180)
    for key, (value,) in parse_qs(screen_link.partition("?")[2]).items():
        shown.query_params[key] = value
    run(shown)
    given = parse_qs(shown.code[0].value.partition("?")[2])
    assert given["class"] == [code]
    assert "angle" in given
    assert "screen" not in given


def test_two_browsers_are_two_guessers_and_none_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import visitor
    from dashboard.learn import classes

    names = []
    for secret in ("a" * 43, "b" * 43):
        monkeypatch.setattr(visitor, "browser_secret", lambda secret=secret: secret)
        names += [classes._guesser(CLASS), classes._guesser("23456789")]
        assert classes._guesser(CLASS) == names[-2]
    assert len(set(names)) == 4
    assert not any(secret * 5 in name for name in names for secret in "ab")
    assert {len(name) for name in names} == {32}
