"""Guesses of classes in lessons: numbers, one of each guesser and without names."""

from __future__ import annotations

import math
import re
import time

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from asi_core.errors import InvalidInput, Refused
from asi_core.runs.store.database import open_database
from asi_core.runs.store.tables import guesses

CLASS_CODE = re.compile(r"[2-9a-hjkmnp-z]{8}", re.ASCII)
# Of one class in one lesson, and of all classes; a class is over when its lecture is.
MOST_OF_A_CLASS, MOST, KEPT_SECONDS = 1000, 50_000, 30 * 24 * 3600.0
# Times are for the limit only, and do not say who guessed when.
_TIME_STEP_SECONDS = 3600.0


class GuessStore:
    """The guesses of classes, in an SQLite or PostgreSQL database.

    Args:
        url: such as sqlite:////folder/asi.sqlite; the folder is created if needed.

    Raises:
        InvalidInput, Unavailable, SQLAlchemyError, OSError: as `open_database`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)

    def put(self, class_code: str, lesson: str, guesser: str, value: float) -> None:
        """Store a guess, in place of an earlier one of the same guesser in this class and lesson.

        Guesses are deleted `KEPT_SECONDS` after they were made, and the oldest when there are more
        than `MOST`.

        Args:
            guesser: at most 32 characters, the same for all guesses of one person.

        Raises:
            InvalidInput: for something that is no class code, or a number that is not finite.
            Refused: if the class has `MOST_OF_A_CLASS` guesses of others in this lesson.
        """
        _check(class_code, value)
        at = time.time() // _TIME_STEP_SECONDS * _TIME_STEP_SECONDS
        key = {"class_code": class_code, "lesson": lesson, "guesser": guesser}
        others = (
            (guesses.c.class_code == class_code)
            & (guesses.c.lesson == lesson)
            & (guesses.c.guesser != guesser)
        )
        dialect = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        row = dialect.insert(guesses).values(**key, value=value, at=at)
        changed = {"value": row.excluded.value, "at": row.excluded.at}
        with self._engine.begin() as connection:
            count = select(func.count()).select_from(guesses)
            if connection.execute(count.where(others)).scalar_one() >= MOST_OF_A_CLASS:
                raise Refused(
                    f"a class has at most {MOST_OF_A_CLASS} guesses, and this one has them all: "
                    "open a new link for the class."
                )
            connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=changed))
            connection.execute(delete(guesses).where(guesses.c.at < at - KEPT_SECONDS))
            if connection.execute(count).scalar_one() > MOST:
                newest = select(guesses.c.at).order_by(guesses.c.at.desc()).offset(MOST).limit(1)
                surplus = guesses.c.at <= newest.scalar_subquery()
                # Of the hour that is now, none.
                connection.execute(delete(guesses).where(surplus, guesses.c.at < at))

    def values(self, class_code: str, lesson: str) -> list[float]:
        """All guesses of a class in a lesson, ascending."""
        query = select(guesses.c.value).where(
            guesses.c.class_code == class_code, guesses.c.lesson == lesson
        )
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()


def _check(class_code: str, value: float) -> None:
    if not CLASS_CODE.fullmatch(class_code):
        raise InvalidInput(
            "a class has a code of 8 letters and digits", repr(class_code[:40]), "open its link"
        )
    if not math.isfinite(value):
        raise InvalidInput("a guess must be a finite number", value, "guess again")
