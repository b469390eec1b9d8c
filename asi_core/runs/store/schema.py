"""Migrating a database to the tables of this version, by one server at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from asi_core.errors import Unavailable

# The newest of `migrations/versions`.
REVISION = "0007"
# The revision of databases that do not store one.
_FIRST = "0001"
_MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary key of the lock: "asi" in ASCII.
_POSTGRES_LOCK = 0x617369


def bring_up_to_date(engine: Engine) -> None:
    """Create or migrate the tables, if needed, in one transaction.

    Raises:
        Unavailable: if they are from a newer version.
        SQLAlchemyError: if the database does not answer.
    """
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    with _locked(engine) as connection:
        found = _revision(connection)
        # Another server may have been faster.
        if found != REVISION:
            _upgrade(connection, found)


def _upgrade(connection: Connection, found: str | None) -> None:
    # Imported here, as most starts do not need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise Unavailable(
            f"the database has tables of a newer version of the app ({found}, this one has "
            f"{REVISION}): update the app, or change ASI_DATABASE_URL to another database."
        )
    if found is None and inspect(connection).has_table("runs"):
        command.stamp(config, _FIRST)
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that only one server can have at a time."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
            yield connection
        return
    # In its default mode, Python's driver commits before it changes tables.
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
