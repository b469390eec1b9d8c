from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from asi_core.runs.store.retry import StoreTimeout, retry


def failing(*errors: Exception) -> tuple[list[Exception], Callable[[], str]]:
    left = list(errors)

    def ask() -> str:
        if left:
            raise left.pop(0)
        return "an answer"

    return left, ask


def test_transient_errors_are_retried() -> None:
    silence = OperationalError("SELECT", {}, Exception("locked"))
    _, ask = failing(silence, OSError("gone"))
    assert retry(ask) == "an answer"


def test_a_store_that_does_not_answer_raises_a_timeout() -> None:
    silence = OperationalError("UPDATE secret", {}, Exception("disk is full"))
    _, ask = failing(*[silence] * 100)
    with pytest.raises(
        StoreTimeout, match=r"^the store has not answered for 0 s \(disk is full\)$"
    ):
        retry(ask, 0.2)


def test_permanent_errors_are_raised_at_once() -> None:
    left, ask = failing(*[ProgrammingError("SELECT", {}, Exception("no such column"))] * 2)
    with pytest.raises(ProgrammingError):
        retry(ask)
    assert len(left) == 1
