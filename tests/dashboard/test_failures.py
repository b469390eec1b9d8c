"""What a visitor reads when a page cannot be drawn."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from asi_core.errors import Unavailable
from dashboard.failures import failure_sentence


def test_what_somebody_asked_for_is_told_as_it_is() -> None:
    assert failure_sentence(Unavailable("the images are gone: choose others.")) == (
        "the images are gone: choose others."
    )


@pytest.mark.parametrize("error", [OperationalError("s", {}, ValueError()), PermissionError("x")])
def test_a_store_that_does_not_answer_is_named_with_the_way_out(error: Exception) -> None:
    told = failure_sentence(error)
    assert "store of runs does not answer" in told
    assert "ASI_HOME" in told


def test_anything_else_is_told_without_its_details() -> None:
    told = failure_sentence(KeyError("secret"))
    assert "KeyError" in told
    assert "secret" not in told
