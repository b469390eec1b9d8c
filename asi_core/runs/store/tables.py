"""The database tables.

A change here needs a file in `migrations/versions` and its number in `schema.REVISION`.
"""

from __future__ import annotations

import time

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    case,
    cast,
    func,
    text,
)

metadata = MetaData()

# Largest difference between the clocks of one installation's machines.
_CLOCKS_DIFFER_SECONDS = 3600.0

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    # Runs that were launched together share a comparison; `position` is their order in it.
    Column("comparison", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("owner", String(128), nullable=False),
    # The network of the request (`networks`), if known.
    Column("network", String(32)),
    Column("spec", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    # Unix seconds, UTC.
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("heartbeat_at", Float),
    # The attempt that may write: every write of a worker checks its token.
    Column("attempt", Integer, nullable=False, default=0),
    Column("token", String(32)),
    # Attempts since the last that made progress.
    Column("tries", Integer, nullable=False, default=0, server_default=text("0")),
    # The attempt's process (`worker_id`), and its count of turns.
    Column("worker", String(256)),
    Column("turns", Integer),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("summary", JSON),
    Column("error", Text),
    # Hash of everything that the numbers depend on, by which completed runs are reused.
    Column("question", String(64), key="fingerprint"),
    # The completed run that it lengthens; it may have been deleted since.
    Column("begins_from", String(32)),
    Index("runs_by_comparison", "comparison", "position"),
    Index("runs_by_status", "status"),
    Index("runs_by_question", "fingerprint", "status"),
    Index("runs_by_owner", "owner", "status"),
)

# Whether a run is a linear probe. The cast is needed as SQLite returns the number as an integer.
is_linear_probe = cast(runs.c.spec["layers"].as_string(), String) == "0"

# Prefix of the editions of imported runs.
IMPORTED = "imported-"
is_imported = func.coalesce(runs.c.token, "").startswith(IMPORTED)


def known_time(at: ColumnElement[float]) -> ColumnElement[float]:
    """A time by which rows are ordered, newest first; times in the future come last."""
    return case((at > time.time() + _CLOCKS_DIFFER_SECONDS, 0.0), else_=at)


events = Table(
    "events",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("payload", JSON, nullable=False),
)

# Lines of a run's log, in order.
log_lines = Table(
    "log_lines",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt_token", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("level", String(16), nullable=False),
    Column("text", Text, nullable=False),
)

# Users' names and notes of comparisons.
comparison_notes = Table(
    "comparison_notes",
    metadata,
    Column("comparison", String(32), primary_key=True),
    Column("name", String(128), nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
)

# Guesses of classes in lessons: one of each guesser, without a name.
guesses = Table(
    "guesses",
    metadata,
    Column("class_code", String(16), primary_key=True),
    Column("lesson", String(32), primary_key=True),
    # Of one class only: a hash from which nobody is found (`dashboard.learn.classes`).
    Column("guesser", String(32), primary_key=True),
    Column("value", Float, nullable=False),
    # Unix seconds, UTC, to the hour.
    Column("at", Float, nullable=False),
    Index("guesses_by_time", "at"),
)

# Short computations by a worker: a calibration, a measurement.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(32), nullable=False),
    # Hash of kind and specification, by which results are reused.
    Column("key", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    # The network of the request (`networks`), if known.
    Column("network", String(32)),
    Column("spec", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    # Unix seconds, UTC.
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("heartbeat_at", Float),
    Column("attempt", Integer, nullable=False, default=0),
    Column("token", String(32)),
    Column("tries", Integer, nullable=False, default=0, server_default=text("0")),
    Column("worker", String(256)),
    Column("turns", Integer),
    Column("result", JSON),
    Column("error", Text),
    Index("jobs_by_key", "key", "status"),
)
# The same job is never active twice, even for different owners.
Index(
    "jobs_going",
    jobs.c.key,
    unique=True,
    sqlite_where=jobs.c.status.in_(("queued", "running")),
    postgresql_where=jobs.c.status.in_(("queued", "running")),
)
