"""An SQLite store of runs; results are computed from records, so other databases are not tested."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store, which is also the store of the settings."""
    url = f"sqlite:///{tmp_path / 'asi.sqlite'}"
    monkeypatch.setenv("ASI_DATABASE_URL", url)
    return url
