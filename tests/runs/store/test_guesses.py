"""Guesses of a class: one of each guesser, bounded, in either database."""

from __future__ import annotations

import math
import threading

import pytest
from sqlalchemy import create_engine, inspect, update

from asi_core.errors import InvalidInput, Refused
from asi_core.runs.store import guesses as module
from asi_core.runs.store.database import database_url as parsed_url
from asi_core.runs.store.guesses import GuessStore
from asi_core.runs.store.tables import guesses

CLASS, OTHER = "abcdefgh", "23456789"


@pytest.fixture
def store(database_url: str) -> GuessStore:
    return GuessStore(database_url)


def test_a_second_guess_replaces_the_first(store: GuessStore) -> None:
    store.put(CLASS, "memory", "first", 3.0)
    store.put(CLASS, "memory", "second", 2.5)
    store.put(CLASS, "memory", "first", 9.0)
    assert store.values(CLASS, "memory") == [2.5, 9.0]


def test_classes_and_lessons_are_apart(store: GuessStore) -> None:
    store.put(CLASS, "memory", "one", 3.0)
    store.put(OTHER, "memory", "one", 4.0)
    store.put(CLASS, "low-rank", "one", 5.0)
    assert store.values(CLASS, "memory") == [3.0]
    assert store.values(OTHER, "memory") == [4.0]
    assert store.values(OTHER, "low-rank") == []


def test_a_class_guesses_at_once(store: GuessStore) -> None:
    def guess(number: int) -> None:
        store.put(CLASS, "memory", f"{number}", float(number))

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.values(CLASS, "memory") == [float(number) for number in range(30)]


@pytest.mark.parametrize("code", ["", "abcdefg", "abcdefghi", "ABCDEFGH", "abc efgh", "abcdefg1"])
def test_what_is_no_code_is_refused(store: GuessStore, code: str) -> None:
    with pytest.raises(InvalidInput, match="a code of 8 letters and digits"):
        store.put(code, "memory", "one", 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(store: GuessStore, value: float) -> None:
    with pytest.raises(InvalidInput, match="a finite number"):
        store.put(CLASS, "memory", "one", value)


def test_a_full_class_still_takes_second_guesses(
    store: GuessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_A_CLASS", 2)
    for guesser in ("one", "two"):
        store.put(CLASS, "memory", guesser, 1.0)
    with pytest.raises(Refused, match="at most 2 guesses"):
        store.put(CLASS, "memory", "three", 1.0)
    store.put(CLASS, "memory", "two", 2.0)
    assert store.values(CLASS, "memory") == [1.0, 2.0]


def test_old_guesses_make_room(store: GuessStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(CLASS, "memory", "one", 1.0)
    store.put(CLASS, "memory", "two", 2.0)
    engine = create_engine(parsed_url(store.url))
    with engine.begin() as connection:
        an_hour = guesses.c.at - 3600
        connection.execute(update(guesses).where(guesses.c.guesser == "one").values(at=an_hour))
    monkeypatch.setattr(module, "MOST", 2)
    store.put(OTHER, "memory", "three", 3.0)
    assert store.values(CLASS, "memory") == [2.0]
    # None of this hour is deleted.
    store.put(OTHER, "memory", "four", 4.0)
    assert store.values(CLASS, "memory") == [2.0]
    with engine.begin() as connection:
        too_long = guesses.c.at - module.KEPT_SECONDS - 3600
        connection.execute(update(guesses).where(guesses.c.guesser == "two").values(at=too_long))
    store.put(OTHER, "memory", "four", 5.0)
    assert store.values(CLASS, "memory") == []
    engine.dispose()


def test_nothing_of_the_visitor_is_kept(store: GuessStore) -> None:
    engine = create_engine(parsed_url(store.url))
    columns = {column["name"] for column in inspect(engine).get_columns("guesses")}
    assert columns == {"class_code", "lesson", "guesser", "value", "at"}
    engine.dispose()
