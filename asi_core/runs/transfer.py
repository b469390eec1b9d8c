"""Taking comparisons out of a store as one file, and into another."""

from __future__ import annotations

import time
import uuid
from typing import IO

from asi_core.errors import InvalidInput
from asi_core.runs.archive import ArchivedRun, read_archive, write_archive
from asi_core.runs.library import Description, RunLibrary
from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.store import RunStore
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.summary import summarise

_MOST_LINES = 200


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
        {run.id: store.log_tail(run.id, _MOST_LINES) for run in ended},
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
    happened = [_once(items) for items in happened]
    runs = [
        _record(run, items, comparison, position, owner)
        for position, (run, items) in enumerate(zip(archive.runs, happened, strict=True))
    ]
    events, logs = {}, {}
    for run, items, archived in zip(runs, happened, archive.runs, strict=True):
        events[run.id] = [item.model_dump(mode="json") for item in items]
        logs[run.id] = [LogLine(line.at, line.level, line.text) for line in archived.log]
    store.finished.add(runs, events, f"imported-{comparison}", logs)
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


def _once(items: list[Event]) -> list[Event]:
    """Each event of a kind and step once, in the order of their steps."""
    found = {(item.kind, item.step): item for item in items}
    return sorted(found.values(), key=lambda item: (item.step, item.kind))
