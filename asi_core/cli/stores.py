"""Open a store for a command; errors are one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from asi_core.runs.store.database import STORE_ERRORS, silence_of
from asi_core.settings import read_settings

Store = TypeVar("Store")


def opened(kind: Callable[[str], Store]) -> Store:
    """The store of the settings, such as `opened(RunStore)`.

    Raises:
        Unavailable: if it does not answer, or its folder cannot be created.
        InvalidInput: if the settings are invalid.
    """
    try:
        return kind(read_settings().database_url)
    except STORE_ERRORS as error:
        raise silence_of(error) from error
