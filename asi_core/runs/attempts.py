"""Attempts: how a worker takes up a row, keeps it, and loses it.

Every change of state is one conditional UPDATE, and what a worker writes is fenced by the token of
its attempt: a second attempt, or a worker that was given up, changes nothing.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from sqlalchemy import Connection, Engine, Table, update

from asi_core.runs.database import AttemptLost


class Attempts:
    """Attempts at the rows of a table with `status`, `token`, `attempt` and its times.

    Args:
        what: what a row is called in errors, such as "job".
    """

    def __init__(self, engine: Engine, table: Table, what: str) -> None:
        self._engine, self._table, self._what = engine, table, what

    def claim(self, row_id: str) -> str | None:
        """Start an attempt at a queued row.

        Returns:
            the attempt's token, or None if the row is not queued (any more).
        """
        table, token, now = self._table, uuid.uuid4().hex, time.time()
        changed = self._change(
            (table.c.id == row_id, table.c.status == "queued"),
            status="running",
            token=token,
            attempt=table.c.attempt + 1,
            started_at=now,
            heartbeat_at=now,
        )
        return token if changed == 1 else None

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
        table = self._table
        # A write comes first: it takes SQLite's lock, which a read before a write could not.
        mine = (table.c.id == row_id, table.c.token == token, table.c.status == "running")
        statement = update(table).where(*mine).values(heartbeat_at=time.time(), **values)
        if connection.execute(statement).rowcount != 1:
            raise AttemptLost(f"{self._what} {row_id} belongs to another attempt")

    def interrupt_stale(self, silent_seconds: float, error: str) -> int:
        """Mark running rows whose worker has been silent for so long; returns how many."""
        table, now = self._table, time.time()
        return self._change(
            (table.c.status == "running", table.c.heartbeat_at < now - silent_seconds),
            status="interrupted",
            finished_at=now,
            error=error,
        )

    def refuse(self, row_id: str, error: str) -> bool:
        """Mark a queued row as failed, as no worker could take it up; returns whether it was."""
        table = self._table
        return (
            self._change(
                (table.c.id == row_id, table.c.status == "queued"),
                status="failed",
                finished_at=time.time(),
                error=error,
            )
            == 1
        )

    def _change(self, where: tuple[Any, ...], **values: Any) -> int:
        with self._engine.begin() as connection:
            return connection.execute(update(self._table).where(*where).values(**values)).rowcount
