"""Exporting comparisons from a store to a file, and importing them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import IO, Any

from pydantic import ValidationError

from asi_core.errors import InvalidInput, one_sentence
from asi_core.runs.exchange.archive import ArchivedRun, Happened, read_archive, write_archive
from asi_core.runs.exchange.archive_files import MOST_LINES
from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.tables import IMPORTED
from asi_core.runs.validity.probes import check_events, check_model
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.summary import summarise

log = logging.getLogger(__name__)


def export_comparison(store: RunStore, library: RunLibrary, comparison: str) -> bytes:
    """Export the ended runs of a comparison, with name, note, events and the end of their logs.

    Invalid runs are left out and logged.

    Raises:
        InvalidInput: if the comparison does not exist, or none of its runs has ended or is valid.
    """
    runs = store.comparison(comparison)
    if not runs:
        raise InvalidInput("the comparison must exist", repr(comparison), "choose another")
    described = library.descriptions().get(comparison, Description())
    happened = _readable_events(store, [run for run in runs if not run.is_active])
    return write_archive(
        [run for run in runs if run.id in happened],
        happened,
        {run_id: store.log_tail(run_id, MOST_LINES) for run_id in happened},
        name=described.name,
        note=described.note,
    )


def _readable_events(store: RunStore, runs: Sequence[RunRecord]) -> dict[str, list[Event]]:
    """Run -> all its events; without invalid runs, which an import would refuse.

    Raises:
        InvalidInput: if all runs are invalid.
    """
    happened: dict[str, list[Event]] = {}
    reasons = []
    for run in runs:
        try:
            check_record(run)
            found = store.all_events(run.id)
            check_events(run.spec, found)
            check_model(run.spec, found)
        except (InvalidRun, ValidationError) as error:
            reasons.append(f"{run.id}: {one_sentence(error):.200}")
            log.warning("run %s is left out", reasons[-1])
        else:
            happened[run.id] = found
    if reasons and not happened:
        rule = "an exported comparison must have a valid run"
        raise InvalidInput(rule, reasons[0].rstrip("."), "choose another comparison")
    return happened


def import_comparison(
    store: RunStore, library: RunLibrary, content: IO[bytes], owner: str
) -> list[RunRecord]:
    """Import a file of `export_comparison` as a new comparison of `owner`, in one transaction.

    Imported runs have no fingerprint, so they are never reused for a launch.

    Raises:
        InvalidInput: if it is not such a file.
        Refused: if the installation is read-only.
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
    # A time in the future would make it the newest run until then.
    facts["created_at"] = min(run.created_at, time.time())
    # Computed from the validated events, as pages rely on every field.
    summary = summarise(happened)
    if run.started_at is not None and run.finished_at is not None:
        summary["seconds"]["total"] = run.finished_at - run.started_at
    return RunRecord(
        id=uuid.uuid4().hex[:12],
        comparison=comparison,
        position=position,
        owner=owner,
        spec=run.spec,
        # The time of the last write, which is now.
        heartbeat_at=time.time(),
        cancel_requested=False,
        summary=summary,
        **facts,
    )


def _as_json(happened: Happened, position: int) -> Iterator[dict[str, Any]]:
    """Events of one run, created when iterated."""
    for event in happened[position]:
        yield event.model_dump(mode="json")
