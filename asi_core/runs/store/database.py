"""Opening a database, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from asi_core.errors import InvalidInput, Unavailable, one_sentence
from asi_core.runs.store.schema import bring_up_to_date

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=10000",
    "PRAGMA foreign_keys=ON",
)
_POSTGRES_NAMES = ("postgres", "postgresql")
_POSTGRES_CONNECT = {"connect_timeout": 5, "application_name": "asi"}


# Errors of a store whose database does not answer, or cannot be opened.
STORE_ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
# Those that may pass: the server restarts, the database is locked, the disk is full.
TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
)


def silence_of(error: Exception) -> Unavailable:
    """The error message for a store that cannot be used, with its remedy."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else reason_of(error)
    return Unavailable(
        f"the store cannot be used ({reason.rstrip('.')}): set ASI_HOME to a writable folder, or "
        "ASI_DATABASE_URL to a reachable database."
    )


def reason_of(error: Exception) -> str:
    """A database error in one sentence, without the SQL statement."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    return one_sentence(cause if isinstance(cause, Exception) else error)


class AttemptLost(Exception):
    """A run or job no longer belongs to the attempt that tried to write."""


def database_url(text: str) -> URL:
    """Parse a database URL, with the driver that this project installs.

    Raises:
        InvalidInput: if it is invalid, or of a database other than SQLite and PostgreSQL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Without its text, which may contain a password.
        raise _no_database("an invalid URL") from None
    if url.drivername in _POSTGRES_NAMES:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise _no_database(repr(url.render_as_string()))
    return url


def open_database(text: str) -> Engine:
    """An engine for the database at `text`, with its tables migrated to this version.

    SQLite's folder is created if needed.

    Raises:
        InvalidInput: as `database_url`.
        Unavailable: if the tables are from a newer version.
        SQLAlchemyError, OSError: if the database cannot be reached.
    """
    url = database_url(text)
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
        event.listen(engine, "connect", _set_pragmas)
    else:
        # A restart of the server leaves dead connections in the pool.
        engine = create_engine(url, pool_pre_ping=True, connect_args=_POSTGRES_CONNECT)
    bring_up_to_date(engine)
    return engine


def _no_database(found: str) -> InvalidInput:
    return InvalidInput(
        "ASI_DATABASE_URL must be the URL of a database",
        found,
        "write sqlite:////folder/asi.sqlite or postgresql://user:password@host/database",
    )


def _set_pragmas(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
