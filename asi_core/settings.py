"""Where things are kept and how much may be used: environment variables, read in one place."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from asi_core.units import GIB

PROJECT = Path(__file__).resolve().parents[1]


class Settings(BaseModel):
    """Settings of this installation.

    Attributes:
        home: folder of the store and of everything that is computed (`ASI_HOME`).
        weights_dir: where checkpoints are looked for first (`ASI_WEIGHTS_DIR`).
        database_url: the store; by default SQLite in `home` (`ASI_DATABASE_URL`).
        concurrent_runs: runs that take turns in one worker (`ASI_CONCURRENT_RUNS`).
        features_dir: where frozen features are kept across processes and restarts; by default in
            `home` (`ASI_FEATURES_DIR`); None for nowhere.
        feature_disk_bytes: disk that they may fill there; 0 for none (`ASI_FEATURE_DISK_BYTES`).
        feature_bytes: memory that one process may fill with frozen features where there is no such
            room on disk (`ASI_FEATURE_BYTES`).
        user_header: request header in which a proxy names the visitor (`ASI_USER_HEADER`); None
            where everybody shares one owner.
    """

    model_config = ConfigDict(frozen=True)

    home: Path
    weights_dir: Path | None
    database_url: str
    features_dir: Path | None = None
    concurrent_runs: int = 8
    feature_disk_bytes: int = 8 * GIB
    feature_bytes: int = 2 * GIB
    user_header: str | None = None


def read_settings() -> Settings:
    """The settings that the environment asks for."""
    home = Path(os.environ.get("ASI_HOME", PROJECT / "data" / "home")).expanduser().resolve()
    weights = os.environ.get("ASI_WEIGHTS_DIR")
    features = os.environ.get("ASI_FEATURES_DIR", home / "features")
    given = {
        "concurrent_runs": os.environ.get("ASI_CONCURRENT_RUNS"),
        "feature_disk_bytes": os.environ.get("ASI_FEATURE_DISK_BYTES"),
        "feature_bytes": os.environ.get("ASI_FEATURE_BYTES"),
        "user_header": os.environ.get("ASI_USER_HEADER") or None,
    }
    return Settings.model_validate(
        {
            "home": home,
            "weights_dir": Path(weights).expanduser() if weights else None,
            "features_dir": Path(features).expanduser(),
            "database_url": os.environ.get("ASI_DATABASE_URL", f"sqlite:///{home / 'asi.sqlite'}"),
            **{name: value for name, value in given.items() if value is not None},
        }
    )
