"""Attempts: how a worker claims a row, holds it, and loses it.

Every change of status is one conditional UPDATE, and a worker's writes are fenced by the token of
its attempt: a second attempt, or a worker that was declared lost, cannot change anything.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, case, false, func, select, update

from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.tables import jobs, runs
from asi_core.runs.store.worker_id import WorkerId

# Attempts without progress: a row that has killed its worker so often would do so forever.
MOST_TRIES = 3


class MustWait(Exception):
    """The next row needs a process without others, or the process is reserved for such a row."""


@dataclass(frozen=True, slots=True)
class Running:
    """A row held by an attempt.

    Attributes:
        token: the attempt's token.
        heartbeat_at: changes as long as the attempt is alive; by its machine's clock.
        worker: its process (`worker_id`).
        turns: its process's count of turns; None before the first report.
        tries: attempts, including this one, since the last that made progress.
        cancel_requested: whether it should stop.
    """

    id: str
    token: str
    heartbeat_at: float
    worker: str | None
    turns: int | None
    tries: int
    cancel_requested: bool

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to have ended."""
        where = WorkerId.read(self.worker)
        return where is not None and where.is_gone


class Attempts:
    """Attempts at the rows of a table with `status`, `token`, `attempt` and its times.

    Args:
        what: the word for a row in error messages, such as "job".
    """

    def __init__(self, engine: Engine, table: Table, what: str) -> None:
        self._engine, self._table, self._what = engine, table, what

    def claim(self, row_id: str, worker: str | None = None) -> str | None:
        """Start an attempt at a queued row.

        Args:
            worker: the process (`worker_id`).

        Returns:
            the attempt's token, or None if the row is not queued.
        """
        table, token, now = self._table, uuid.uuid4().hex, time.time()
        changed = self._change(
            (table.c.id == row_id, table.c.status == "queued"),
            status="running",
            token=token,
            attempt=table.c.attempt + 1,
            tries=table.c.tries + 1,
            worker=worker,
            turns=None,
            # The start of the first attempt.
            started_at=func.coalesce(table.c.started_at, now),
            heartbeat_at=now,
        )
        return token if changed == 1 else None

    def check_may_begin(self, row_id: str, worker: str) -> None:
        """Check that an attempt may share a worker's process with what is active there.

        A row that was lost with its process before it made progress is retried alone: if it kills
        the process again, nothing else is lost. Jobs are short, and may join a run that is retried.

        Raises:
            MustWait: if it may not.
        """
        c = self._table.c
        with self._engine.connect() as connection:
            before = connection.execute(select(c.tries).where(c.id == row_id)).scalar()
            there: dict[Table, list[int]] = {
                table: list(connection.execute(_tries_at(table, worker)).scalars())
                for table in (runs, jobs)
            }
        blocking = there[jobs] if self._table is jobs else [*there[runs], *there[jobs]]
        # The current attempt is counted, so 2 means a retry.
        if (before and any(there.values())) or max(blocking, default=0) >= 2:
            raise MustWait(f"{self._what} {row_id} waits for a process without other work")

    def has_lost_ones(self) -> bool:
        """Whether any queued row is to be retried alone."""
        c = self._table.c
        query = select(c.id).where(c.status == "queued", c.tries > 0).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def write(self, row_id: str, token: str, **values: Any) -> None:
        """Change a running row, with a heartbeat.

        Raises:
            AttemptLost: if it does not belong to the token's attempt; nothing is written.
        """
        with self._engine.begin() as connection:
            self.fence(connection, row_id, token, **values)

    def fence(self, connection: Connection, row_id: str, token: str, **values: Any) -> None:
        """As `write`, within a transaction; what follows in it is written by this attempt only.

        Raises:
            AttemptLost: before anything else of the transaction is written.
        """
        # The write comes first, to take SQLite's write lock at once.
        statement = update(self._table).where(*self._owned(row_id, token))
        values = {"heartbeat_at": time.time(), **values}
        if connection.execute(statement.values(**values)).rowcount != 1:
            raise AttemptLost(f"{self._what} {row_id} belongs to another attempt")

    def running(self) -> list[Running]:
        """All running rows."""
        c = self._table.c
        # Jobs cannot be cancelled.
        cancelled = c.cancel_requested if "cancel_requested" in c else false()
        columns = (c.id, c.token, c.heartbeat_at, c.worker, c.turns, c.tries, cancelled)
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).where(c.status == "running")).all()
        return [Running(*row[:-1], cancel_requested=bool(row[-1])) for row in rows]

    def touch(self, row_id: str) -> None:
        """Write a row unchanged, to check that the store is writable.

        Raises:
            SQLAlchemyError: if it is not, for example if the disk is full or the database locked.
        """
        self._change((self._table.c.id == row_id,), attempt=self._table.c.attempt)

    def requeue(self, row_id: str, token: str, *, count_attempt: bool = True) -> bool:
        """Queue a row again whose attempt is lost; that attempt can then write nothing.

        Args:
            count_attempt: whether it counts as a try of the row.

        Returns:
            whether it was queued: False if the attempt has ended.
        """
        c = self._table.c
        # After progress in this attempt, tries is 0 already.
        uncounted = case((c.tries > 0, c.tries - 1), else_=0)
        tries = {} if count_attempt else {"tries": uncounted}
        values = {"status": "queued", "token": None, "worker": None, "turns": None, **tries}
        return self._change(self._owned(row_id, token), **values) == 1

    def end(self, row_id: str, token: str, **values: Any) -> bool:
        """End an attempt from outside its worker; returns whether it was running."""
        return self._change(self._owned(row_id, token), finished_at=time.time(), **values) == 1

    def refuse(self, row_id: str, error: str) -> bool:
        """Mark a queued row as failed, as no worker can start it; returns whether it was queued."""
        c = self._table.c
        where = (c.id == row_id, c.status == "queued")
        return self._change(where, status="failed", finished_at=time.time(), error=error) == 1

    def _owned(self, row_id: str, token: str) -> tuple[Any, ...]:
        c = self._table.c
        return c.id == row_id, c.token == token, c.status == "running"

    def _change(self, where: tuple[Any, ...], **values: Any) -> int:
        with self._engine.begin() as connection:
            return connection.execute(update(self._table).where(*where).values(**values)).rowcount


def _tries_at(table: Table, worker: str) -> Select[Any]:
    """The tries of all rows that run in a worker's process."""
    return select(table.c.tries).where(table.c.status == "running", table.c.worker == worker)
