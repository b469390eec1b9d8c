"""What Alembic runs: on the connection that `runs.schema` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from asi_core.runs.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller has begun a transaction, which is also the lock.
    transactional_ddl=False,
)
context.run_migrations()
