"""Runs tests of stores with both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty store, which is also the store of the settings."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'folder' / 'asi.sqlite'}"
        monkeypatch.setenv("ASI_DATABASE_URL", url)
        yield url
        return
    server: Any = request.getfixturevalue("postgres")
    with fresh_database(server) as url:
        monkeypatch.setenv("ASI_DATABASE_URL", url)
        yield url
