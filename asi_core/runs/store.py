"""The record of truth about runs.

A run goes queued -> running -> completed | failed | cancelled | interrupted. Every change of state
is one conditional UPDATE, and whatever a worker writes is fenced by the token of its attempt: a
second attempt, or a worker that was given up, changes nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    Select,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from asi_core.runs.attempts import Attempts
from asi_core.runs.database import connect
from asi_core.runs.records import ACTIVE, LogLine, RunRecord, Status
from asi_core.runs.tables import events, log_lines, metadata, runs
from asi_core.training.events import EVENT_ADAPTER, Event
from asi_core.training.spec import RunSpec


class RunStore:
    """Runs and their events, in any database that SQLAlchemy reaches.

    Args:
        url: such as sqlite:////folder/asi.sqlite; the folder is made if needed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = connect(url)
        metadata.create_all(self._engine)
        self._attempts = Attempts(self._engine, runs, "run")

    # Asking -----------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        """One run, None if there is none of that id."""
        found = self._records(select(runs).where(runs.c.id == run_id))
        return found[0] if found else None

    def comparison(self, comparison: str) -> list[RunRecord]:
        """The runs that were launched together, in their order."""
        query = select(runs).where(runs.c.comparison == comparison).order_by(runs.c.position)
        return self._records(query)

    def latest_comparisons(self, limit: int) -> list[list[RunRecord]]:
        """The newest comparisons, newest first."""
        newest = func.max(runs.c.created_at)
        names = select(runs.c.comparison).group_by(runs.c.comparison).order_by(newest.desc())
        with self._engine.connect() as connection:
            found = connection.execute(names.limit(limit)).scalars().all()
        return [self.comparison(name) for name in found]

    def active(self) -> list[RunRecord]:
        """Runs that are queued or running, oldest first."""
        query = select(runs).where(runs.c.status.in_(ACTIVE))
        return self._records(query.order_by(runs.c.created_at, runs.c.position))

    def events(self, run_id: str, kind: str, after_step: int = -1) -> list[Event]:
        """Events of one kind with a step beyond `after_step`, in order."""
        query = (
            select(events.c.payload)
            .where(events.c.run_id == run_id, events.c.kind == kind, events.c.step > after_step)
            .order_by(events.c.step)
        )
        with self._engine.connect() as connection:
            payloads = connection.execute(query).scalars().all()
        return [EVENT_ADAPTER.validate_python(payload) for payload in payloads]

    def log_tail(self, run_id: str, limit: int) -> list[LogLine]:
        """The last lines of a run's log, oldest first."""
        lines = log_lines
        query = (
            select(lines.c.at, lines.c.level, lines.c.text)
            .where(lines.c.run_id == run_id)
            .order_by(lines.c.at.desc(), lines.c.number.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [LogLine(*row) for row in reversed(connection.execute(query).all())]

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked the run to stop."""
        query = select(runs.c.cancel_requested).where(runs.c.id == run_id)
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar())

    # Asking for a run ---------------------------------------------------------------------------

    def create(self, specs: Sequence[RunSpec], owner: str) -> list[RunRecord]:
        """Queue runs that belong together; all of them or none."""
        comparison, now = uuid.uuid4().hex[:12], time.time()
        rows = [
            {
                "id": uuid.uuid4().hex[:12],
                "comparison": comparison,
                "position": position,
                "owner": owner,
                "spec": spec.model_dump(mode="json"),
                "status": "queued",
                "created_at": now,
                "attempt": 0,
                "cancel_requested": False,
            }
            for position, spec in enumerate(specs)
        ]
        with self._engine.begin() as connection:
            connection.execute(insert(runs), rows)
        return self.comparison(comparison)

    def request_cancel(self, run_id: str) -> None:
        """Stop a run: at once if it is queued, within a step if it is running."""
        now = time.time()
        with self._engine.begin() as connection:
            queued = update(runs).where(runs.c.id == run_id, runs.c.status == "queued")
            connection.execute(queued.values(status="cancelled", finished_at=now))
            running = update(runs).where(runs.c.id == run_id, runs.c.status == "running")
            connection.execute(running.values(cancel_requested=True))

    # What a worker writes -------------------------------------------------------------------------

    def claim(self, run_id: str) -> str | None:
        """Start an attempt at a queued run.

        Returns:
            the attempt's token, or None if the run is not queued (any more).
        """
        return self._attempts.claim(run_id)

    def append(
        self,
        run_id: str,
        token: str,
        new: Iterable[Event],
        lines: Mapping[int, LogLine] | None = None,
    ) -> None:
        """Add events and lines of the log, and beat, in one transaction.

        Args:
            lines: by their number in the attempt.

        Raises:
            AttemptLost: if the run does not belong to the token's attempt; nothing is written.
        """
        rows = [
            {
                "run_id": run_id,
                "kind": item.kind,
                "step": item.step,
                "payload": item.model_dump(mode="json"),
            }
            for item in new
        ]
        logged = [
            {"run_id": run_id, "attempt_token": token, "number": number, **asdict(line)}
            for number, line in (lines or {}).items()
        ]
        with self._engine.begin() as connection:
            self._attempts.fence(connection, run_id, token)
            if rows:
                connection.execute(insert(events), rows)
            if logged:
                connection.execute(insert(log_lines), logged)

    def finish(
        self,
        run_id: str,
        token: str,
        status: Status,
        summary: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """End an attempt.

        Raises:
            AttemptLost: if the run does not belong to the token's attempt; nothing is written.
        """
        self._attempts.write(
            run_id, token, status=status, summary=summary, error=error, finished_at=time.time()
        )

    def interrupt_stale(self, silent_seconds: float) -> int:
        """Mark running runs whose worker has been silent for so long; returns how many."""
        return self._attempts.interrupt_stale(
            silent_seconds, "the worker stopped before the run had ended: launch it again."
        )

    def refuse(self, run_id: str, error: str) -> bool:
        """Mark a queued run as failed, as no worker could take it up; returns whether it was."""
        return self._attempts.refuse(run_id, error)

    # What comes with the app ----------------------------------------------------------------------

    def edition(self, comparison: str) -> str | None:
        """Which edition of a shipped comparison is here; None if none is."""
        query = select(runs.c.token).where(runs.c.comparison == comparison)
        with self._engine.connect() as connection:
            return connection.execute(query.limit(1)).scalar()

    def add_finished(
        self,
        comparison: Sequence[RunRecord],
        happened: Mapping[str, Sequence[dict[str, Any]]],
        edition: str,
    ) -> bool:
        """Keep a comparison that has ended, in place of other editions of it; all of it or none.

        Args:
            happened: run -> its events as JSON.
            edition: at most 32 signs.

        Returns:
            whether it was written: not if this edition is here already.
        """
        same = runs.c.comparison == comparison[0].comparison
        rows = [
            {"run_id": run_id, "kind": item["kind"], "step": item["step"], "payload": item}
            for run_id, items in happened.items()
            for item in items
        ]
        try:
            with self._engine.begin() as connection:
                # A write comes first, which takes SQLite's lock: of two servers, one waits here.
                connection.execute(delete(runs).where(same, runs.c.token != edition))
                connection.execute(insert(runs), [_as_row(run, edition) for run in comparison])
                if rows:
                    connection.execute(insert(events), rows)
        except IntegrityError:
            if self.edition(comparison[0].comparison) != edition:
                raise
            # It was here, or another server was faster.
            return False
        return True

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()

    def _records(self, query: Select[Any]) -> list[RunRecord]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [RunRecord.from_row(dict(row)) for row in rows]


def _as_row(run: RunRecord, token: str) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in RunRecord.__dataclass_fields__}
    return {**fields, "spec": run.spec.model_dump(mode="json"), "token": token}
