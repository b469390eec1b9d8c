"""Paths of checkpoints: each is in a folder named by its run's id."""

from __future__ import annotations

import re
from pathlib import Path

_NAME, _PART = "state.safetensors", ".part"
_RUN_ID = re.compile(r"[0-9a-f]{12}")


def checkpoint_path(folder: Path, run_id: str) -> Path:
    """The file of a run's checkpoint."""
    return folder / run_id / _NAME


def is_checkpoint_folder(place: Path) -> bool:
    """Whether `place` contains a run's checkpoint and nothing else.

    Other programs may use the same parent folder.
    """
    if place.is_symlink() or not place.is_dir() or not _RUN_ID.fullmatch(place.name):
        return False
    return all(found.name == _NAME or found.suffix == _PART for found in place.iterdir())
