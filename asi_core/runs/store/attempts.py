"""Attempts: how a worker takes up a row, keeps it, and loses it.

Every change of state is one conditional UPDATE, and what a worker writes is fenced by the token of
its attempt: a second attempt, or a worker that was given up, changes nothing.
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

# Attempts at the same place: what kills its worker as often would do so for ever.
MOST_TRIES = 3


class MustWait(Exception):
    """What is next has to be alone in its process, or the process is kept for what has to."""


@dataclass(frozen=True, slots=True)
class Running:
    """A row that an attempt has.

    Attributes:
        token: of the attempt.
        heartbeat_at: changes as long as the attempt is alive; by the clock of its machine.
        worker: where (`worker_id`).
        turns: how much its process has computed, None before it has told.
        tries: attempts, with this one, since the last that came any further.
        cancel_requested: whether somebody wants it to stop.
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
        what: what a row is called in errors, such as "job".
    """

    def __init__(self, engine: Engine, table: Table, what: str) -> None:
        self._engine, self._table, self._what = engine, table, what

    def claim(self, row_id: str, worker: str | None = None) -> str | None:
        """Start an attempt at a queued row.

        Args:
            worker: where.

        Returns:
            the attempt's token, or None if the row is not queued (any more).
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
            # From the first attempt on.
            started_at=func.coalesce(table.c.started_at, now),
            heartbeat_at=now,
        )
        return token if changed == 1 else None

    def check_may_begin(self, row_id: str, worker: str) -> None:
        """Whether an attempt may share a worker's process with what goes on there.

        What was lost with its process, before it came any further, is tried again alone: if it is
        what ends the process, nothing else is lost with it once more. Jobs are short, and join a
        run that is tried again.

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
        heeded = there[jobs] if self._table is jobs else [*there[runs], *there[jobs]]
        # An attempt counts from its beginning: the second is one that is tried again.
        if (before and any(there.values())) or max(heeded, default=0) >= 2:
            raise MustWait(f"{self._what} {row_id} waits until a process is its own")

    def has_lost_ones(self) -> bool:
        """Whether anything is queued that is to be tried again alone."""
        c = self._table.c
        query = select(c.id).where(c.status == "queued", c.tries > 0).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def write(self, row_id: str, token: str, **values: Any) -> None:
        """Change a row that is being worked on, and beat.

        Raises:
            AttemptLost: if it does not belong to the token's attempt; nothing is written.
        """
        with self._engine.begin() as connection:
            self.fence(connection, row_id, token, **values)

    def fence(self, connection: Connection, row_id: str, token: str, **values: Any) -> None:
        """As `write`, in a transaction that goes on with what the attempt alone may write.

        Raises:
            AttemptLost: before anything else of the transaction is written.
        """
        # A write comes first: it takes SQLite's lock, which a read before a write could not.
        statement = update(self._table).where(*self._owned(row_id, token))
        values = {"heartbeat_at": time.time(), **values}
        if connection.execute(statement.values(**values)).rowcount != 1:
            raise AttemptLost(f"{self._what} {row_id} belongs to another attempt")

    def running(self) -> list[Running]:
        """All rows that an attempt has."""
        c = self._table.c
        # Not all that is worked on can be cancelled.
        cancelled = c.cancel_requested if "cancel_requested" in c else false()
        columns = (c.id, c.token, c.heartbeat_at, c.worker, c.turns, c.tries, cancelled)
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).where(c.status == "running")).all()
        return [Running(*row[:-1], cancel_requested=bool(row[-1])) for row in rows]

    def touch(self, row_id: str) -> None:
        """Write a row as it is: whether anything can be written at all.

        Raises:
            SQLAlchemyError: if not, as to a full disk or a locked database.
        """
        self._change((self._table.c.id == row_id,), attempt=self._table.c.attempt)

    def requeue(self, row_id: str, token: str, *, count_attempt: bool = True) -> bool:
        """Put a row back whose attempt is lost; whoever was in the attempt writes no more.

        Args:
            count_attempt: whether it counts among the tries of the row.

        Returns:
            whether it was put back: not if the attempt has ended.
        """
        c = self._table.c
        # What came further in this attempt has none that counts.
        uncounted = case((c.tries > 0, c.tries - 1), else_=0)
        tries = {} if count_attempt else {"tries": uncounted}
        values = {"status": "queued", "token": None, "worker": None, "turns": None, **tries}
        return self._change(self._owned(row_id, token), **values) == 1

    def end(self, row_id: str, token: str, **values: Any) -> bool:
        """End an attempt from outside of it; returns whether it had not ended."""
        return self._change(self._owned(row_id, token), finished_at=time.time(), **values) == 1

    def refuse(self, row_id: str, error: str) -> bool:
        """Mark a queued row as failed, as no worker could take it up; returns whether it was."""
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
    """Of all rows that go on in a worker's process."""
    return select(table.c.tries).where(table.c.status == "running", table.c.worker == worker)
