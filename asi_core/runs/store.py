"""The record of truth about runs.

A run goes queued -> running -> completed | failed | cancelled | interrupted. Every change of state
is one conditional UPDATE, and whatever a worker writes is fenced by the token of its attempt: a
second attempt, or a worker that was given up, changes nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import make_url

from asi_core.runs.records import ACTIVE, RunRecord, Status
from asi_core.runs.tables import events, metadata, runs
from asi_core.training.events import EVENT_ADAPTER, Event
from asi_core.training.spec import RunSpec

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=10000",
    "PRAGMA foreign_keys=ON",
)


class AttemptLost(Exception):
    """The run no longer belongs to the attempt that tried to write."""


class RunStore:
    """Runs and their events, in any database that SQLAlchemy reaches.

    Args:
        url: such as sqlite:////folder/asi.sqlite; the folder is made if needed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _connect(url)
        metadata.create_all(self._engine)

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
        token, now = uuid.uuid4().hex, time.time()
        statement = (
            update(runs)
            .where(runs.c.id == run_id, runs.c.status == "queued")
            .values(
                status="running",
                token=token,
                attempt=runs.c.attempt + 1,
                started_at=now,
                heartbeat_at=now,
            )
        )
        with self._engine.begin() as connection:
            return token if connection.execute(statement).rowcount == 1 else None

    def append(self, run_id: str, token: str, new: Iterable[Event]) -> None:
        """Add events and beat, in one transaction.

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
        with self._engine.begin() as connection:
            self._fenced(connection, run_id, token, heartbeat_at=time.time())
            if rows:
                connection.execute(insert(events), rows)

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
        with self._engine.begin() as connection:
            self._fenced(
                connection,
                run_id,
                token,
                status=status,
                summary=summary,
                error=error,
                finished_at=time.time(),
            )

    def interrupt_stale(self, silent_seconds: float) -> int:
        """Mark running runs whose worker has been silent for so long; returns how many."""
        limit = time.time() - silent_seconds
        statement = (
            update(runs)
            .where(runs.c.status == "running", runs.c.heartbeat_at < limit)
            .values(
                status="interrupted",
                finished_at=time.time(),
                error="the worker stopped before the run had ended: launch it again.",
            )
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount

    def refuse(self, run_id: str, error: str) -> bool:
        """Mark a queued run as failed, as no worker could take it up; returns whether it was."""
        statement = (
            update(runs)
            .where(runs.c.id == run_id, runs.c.status == "queued")
            .values(status="failed", finished_at=time.time(), error=error)
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()

    @staticmethod
    def _fenced(connection: Connection, run_id: str, token: str, **values: Any) -> None:
        # A write comes first: it takes SQLite's lock, which a read before a write could not.
        statement = update(runs).where(
            runs.c.id == run_id, runs.c.token == token, runs.c.status == "running"
        )
        if connection.execute(statement.values(**values)).rowcount != 1:
            raise AttemptLost(f"run {run_id} belongs to another attempt")

    def _records(self, query: Select[Any]) -> list[RunRecord]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [_record(dict(row)) for row in rows]


def _record(row: dict[str, Any]) -> RunRecord:
    row.pop("token")
    row["spec"] = RunSpec.model_validate(row["spec"])
    return RunRecord(**row)


def _connect(url: str) -> Engine:
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    if is_sqlite:
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
