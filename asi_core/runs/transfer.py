"""Taking comparisons out of a store as one file, and into another."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import IO, Any

from asi_core.errors import InvalidInput
from asi_core.runs.archive import ArchivedRun, Happened, read_archive, write_archive
from asi_core.runs.archive_files import MOST_LINES
from asi_core.runs.finished import IMPORTED
from asi_core.runs.library import Description, RunLibrary
from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.store import RunStore
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.summary import summarise


def export_comparison(store: RunStore, library: RunLibrary, comparison: str) -> bytes:
    """All runs of a comparison that have ended, with name, note, events and the end of their logs.

    Raises:
        InvalidInput: if there is no such comparison, or none of its runs has ended.
    """
    runs = store.comparison(comparison)
    if not runs:
        raise InvalidInput("there must be such a comparison", repr(comparison), "choose another")
    described = library.descriptions().get(comparison, Description())
    ended = [run for run in runs if not run.is_active]
    return write_archive(
        ended,
        {run.id: store.all_events(run.id) for run in ended},
        {run.id: store.log_tail(run.id, MOST_LINES) for run in ended},
        name=described.name,
        note=described.note,
    )


def import_comparison(
    store: RunStore, library: RunLibrary, content: IO[bytes], owner: str
) -> list[RunRecord]:
    """Keep what a file of `export_comparison` holds, as a new comparison of `owner`.

    All of it or none. What comes from elsewhere answers no question of this installation.

    Raises:
        InvalidInput: if it is no such file.
        Refused: where visitors may only look.
    """
    read_settings().check_may_change()
    archive, happened = read_archive(content)
    comparison = uuid.uuid4().hex[:12]
    runs = [
        _record(run, happened[position], comparison, position, owner)
        for position, run in enumerate(archive.runs)
    ]
    events = {run.id: _as_json(happened, position) for position, run in enumerate(runs)}
    logs = {
        run.id: [LogLine(line.at, line.level, line.text) for line in archived.log]
        for run, archived in zip(runs, archive.runs, strict=True)
    }
    store.finished.add(runs, events, f"{IMPORTED}{comparison}", logs)
    if archive.name or archive.note:
        library.describe(comparison, Description(archive.name, archive.note))
    return runs


def _record(
    run: ArchivedRun, happened: list[Event], comparison: str, position: int, owner: str
) -> RunRecord:
    facts = run.model_dump(exclude={"spec", "rows", "log"})
    # Whose clock is ahead is not the newest here for years.
    facts["created_at"] = min(run.created_at, time.time())
    # Made here of what was checked: pages rely on every field of it.
    summary = summarise(happened)
    if run.started_at is not None and run.finished_at is not None:
        summary["seconds"]["total"] = run.finished_at - run.started_at
    return RunRecord(
        id=uuid.uuid4().hex[:12],
        comparison=comparison,
        position=position,
        owner=owner,
        spec=run.spec,
        # When it was last written to: here, now.
        heartbeat_at=time.time(),
        cancel_requested=False,
        summary=summary,
        **facts,
    )


def _as_json(happened: Happened, position: int) -> Iterator[dict[str, Any]]:
    """Events of one run, made when the first is taken."""
    for event in happened[position]:
        yield event.model_dump(mode="json")
