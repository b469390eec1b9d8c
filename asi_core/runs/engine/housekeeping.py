"""Deletes what is no longer needed: checkpoints of ended runs, and old runs and uploads."""

from __future__ import annotations

import logging
import shutil
import time

from asi_core.datasets.checking import forget_older
from asi_core.datasets.uploads import remove_older, remove_parts
from asi_core.errors import one_sentence
from asi_core.runs.store.checkpoint_files import final_paths, is_checkpoint_folder, trim
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import Settings

log = logging.getLogger(__name__)

_DAY_SECONDS = 24 * 3600.0
# After this time, the results of checking user images are dropped and computed again.
_CHECKED_DAYS = 90
# Younger checkpoints are kept, as their run may have become active after the list was read.
_YOUNG_SECONDS = 3600.0


def tidy(settings: Settings, store: RunStore, library: RunLibrary, jobs: JobStore) -> None:
    """Remove checkpoints that no run resumes or is lengthened from, and interrupted uploads.

    Runs and jobs older than `keep_days` are deleted, and so are uploads that no run was trained on.

    Raises:
        SQLAlchemyError: if the store does not answer; nothing is removed then.
    """
    folder, now = settings.checkpoints_dir, time.time()
    completed = store.completed([path.parent.name for path in final_paths(folder)])
    needed = {run.id for run in store.active()} | completed
    for place in folder.iterdir() if folder.is_dir() else ():
        try:
            if place.name in needed or not is_checkpoint_folder(place):
                continue
            if now - place.stat().st_mtime > _YOUNG_SECONDS:
                shutil.rmtree(place)
        except OSError as error:
            log.warning("%s could not be removed (%s)", place, one_sentence(error))
    trim(folder, settings.checkpoint_bytes)
    remove_parts(now - _YOUNG_SECONDS)
    forget_older(now - _CHECKED_DAYS * _DAY_SECONDS)
    if settings.keep_days is not None:
        oldest = now - settings.keep_days * _DAY_SECONDS
        jobs.delete_older(oldest)
        removed = library.delete_older(oldest)
        remove_older(oldest, set(library.values("dataset")))
        if removed:
            log.info("deleted %d runs older than %g days", removed, settings.keep_days)
