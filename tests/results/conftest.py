"""A store to make runs in; what is computed from records is the same whatever kept them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store, which is also that of the settings."""
    url = f"sqlite:///{tmp_path / 'asi.sqlite'}"
    monkeypatch.setenv("ASI_DATABASE_URL", url)
    return url
