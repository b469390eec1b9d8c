"""Alembic's environment: runs on the connection of `runs.store.schema`, in its transaction."""

from __future__ import annotations

from alembic import context

from asi_core.runs.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller has begun a transaction, which also holds the lock.
    transactional_ddl=False,
)
context.run_migrations()
