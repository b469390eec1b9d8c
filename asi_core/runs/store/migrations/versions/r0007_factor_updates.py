"""Writes into older runs that ASI's factors were updated at every step, then the only way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from asi_core.training.earlier import spec_before_updates

revision = "0007"
down_revision = "0006"

_AT_ONCE = 1000


def upgrade() -> None:
    for name in ("runs", "jobs"):
        _write_update(sa.table(name, sa.column("id", sa.String), sa.column("spec", sa.JSON)))


def _write_update(table: sa.TableClause) -> None:
    connection, last = op.get_bind(), ""
    rows = sa.select(table).order_by(table.c.id).limit(_AT_ONCE)
    # In parts, as all specifications of a large store do not fit into memory.
    while found := connection.execute(rows.where(table.c.id > last)).all():
        for row in found:
            spec = spec_before_updates(row.spec)
            if spec != row.spec:
                changed = sa.update(table).where(table.c.id == row.id)
                connection.execute(changed.values(spec=spec))
        last = found[-1].id
