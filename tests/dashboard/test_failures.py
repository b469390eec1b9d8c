"""The message when a page cannot be drawn."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from asi_core.errors import Unavailable
from dashboard.failures import failure_sentence


def test_what_somebody_asked_for_is_reported_as_it_is() -> None:
    assert failure_sentence(Unavailable("the images are gone: choose others.")) == (
        "the images are gone: choose others."
    )


@pytest.mark.parametrize("error", [OperationalError("s", {}, ValueError()), PermissionError("x")])
def test_a_store_that_does_not_answer_is_named_with_the_way_out(error: Exception) -> None:
    message = failure_sentence(error)
    assert "store of runs does not respond" in message
    assert "ASI_HOME" in message


def test_anything_else_is_reported_without_its_details() -> None:
    message = failure_sentence(KeyError("secret"))
    assert "KeyError" in message
    assert "secret" not in message
