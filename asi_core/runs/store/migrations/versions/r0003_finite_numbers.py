"""Makes weight decays finite: SQLite stored the word Infinity, which JSON does not have."""

from __future__ import annotations

import json
import math
import sys

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        # PostgreSQL never accepted it.
        return
    runs = sa.table("runs", sa.column("id", sa.String), sa.column("spec", sa.Text))
    rows = connection.execute(sa.select(runs).where(runs.c.spec.contains("Infinity"))).all()
    for row in rows:
        spec = json.loads(row.spec)
        if not math.isinf(spec.get("weight_decay", 0.0)):
            continue
        # In single precision, in which runs compute, this is infinity too.
        spec["weight_decay"] = sys.float_info.max
        changed = sa.update(runs).where(runs.c.id == row.id).values(spec=json.dumps(spec))
        connection.execute(changed)
