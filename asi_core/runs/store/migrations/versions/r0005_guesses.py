"""Guesses of classes in lessons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "guesses",
        sa.Column("class_code", sa.String(16), primary_key=True),
        sa.Column("lesson", sa.String(32), primary_key=True),
        sa.Column("guesser", sa.String(32), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("guesses_by_time", "guesses", ["at"])
