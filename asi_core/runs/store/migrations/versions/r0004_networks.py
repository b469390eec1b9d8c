"""The network from which a run or job was requested, for its limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("runs", "jobs"):
        op.add_column(table, sa.Column("network", sa.String(32)))
