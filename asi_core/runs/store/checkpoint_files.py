"""Paths of checkpoints: each run has a folder, named by its id.

A run that is active has the state from which it resumes, a completed one the state from which it
can be lengthened.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from asi_core.errors import one_sentence

log = logging.getLogger(__name__)

_NAME, _FINAL, _PART = "state.safetensors", "final.safetensors", ".part"
_RUN_ID = re.compile(r"[0-9a-f]{12}")


def checkpoint_path(folder: Path, run_id: str) -> Path:
    """The file from which an active run resumes."""
    return folder / run_id / _NAME


def final_path(folder: Path, run_id: str) -> Path:
    """The file from which a completed run is lengthened."""
    return folder / run_id / _FINAL


def final_paths(folder: Path) -> list[Path]:
    """The files of all completed runs."""
    return list(folder.glob(f"*/{_FINAL}"))


def is_checkpoint_folder(place: Path) -> bool:
    """Whether `place` contains a run's checkpoints and nothing else.

    Other programs may use the same parent folder.
    """
    if place.is_symlink() or not place.is_dir() or not _RUN_ID.fullmatch(place.name):
        return False
    return all(found.name in (_NAME, _FINAL) or found.suffix == _PART for found in place.iterdir())


def trim(folder: Path, most_bytes: int) -> None:
    """Remove the oldest final states, until those that are left have at most `most_bytes`."""
    states = []
    for path in final_paths(folder):
        try:
            if is_checkpoint_folder(path.parent):
                facts = path.stat()
                states.append((facts.st_mtime, facts.st_size, path))
        except OSError:
            # Removed by another process just now.
            continue
    total = 0
    for _, size, path in sorted(states, reverse=True):
        total += size
        if total > most_bytes:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
    except OSError as error:
        log.warning("%s could not be removed (%s)", path, one_sentence(error))
