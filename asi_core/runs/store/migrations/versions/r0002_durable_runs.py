"""The worker of a row, its turns and tries, and the fingerprint by which a run is reused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table in ("runs", "jobs"):
        op.add_column(table, sa.Column("worker", sa.String(256)))
        op.add_column(table, sa.Column("turns", sa.Integer))
        op.add_column(
            table, sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0"))
        )
    op.add_column("runs", sa.Column("question", sa.String(64)))
    op.create_index("runs_by_question", "runs", ["question", "status"])
    op.create_index("runs_by_owner", "runs", ["owner", "status"])
