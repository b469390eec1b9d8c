"""Reaching a database, and what its stores have in common."""

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


# What any store raises when its database does not answer, or cannot be opened.
STORE_ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
# What of that may pass: a server that is started anew, a lock, a full disk.
TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
)


def silence_of(error: Exception) -> Unavailable:
    """What to tell a person of a store that did not answer, and what may be done about it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else reason_of(error)
    return Unavailable(
        f"the store cannot be used ({reason.rstrip('.')}): make ASI_HOME a folder that can be "
        "written, or ASI_DATABASE_URL a database that answers."
    )


def reason_of(error: Exception) -> str:
    """Why a store did not answer, in one sentence: without the statement that it was asked."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    return one_sentence(cause if isinstance(cause, Exception) else error)


class AttemptLost(Exception):
    """A run or job no longer belongs to the attempt that tried to write."""


def database_url(text: str) -> URL:
    """The address of a database, with the driver that this project installs.

    Raises:
        InvalidInput: if it is none, or that of a database that is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Without its text: nobody can tell what of it is the password.
        raise _no_database("what is no address") from None
    if url.drivername in _POSTGRES_NAMES:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise _no_database(repr(url.render_as_string()))
    return url


def open_database(text: str) -> Engine:
    """An engine for the database at `text`, whose tables are those of this version.

    SQLite's folder is made if needed.

    Raises:
        InvalidInput: as `database_url`.
        Unavailable: if the tables are those of a newer version.
        SQLAlchemyError, OSError: if the database cannot be reached.
    """
    url = database_url(text)
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
        event.listen(engine, "connect", _set_pragmas)
    else:
        # A server that was started anew leaves connections that lead nowhere.
        engine = create_engine(url, pool_pre_ping=True, connect_args=_POSTGRES_CONNECT)
    bring_up_to_date(engine)
    return engine


def _no_database(found: str) -> InvalidInput:
    return InvalidInput(
        "ASI_DATABASE_URL must name a database",
        found,
        "write sqlite:////folder/asi.sqlite or postgresql://user:password@host/database",
    )


def _set_pragmas(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
