"""Frozen records that the store returns instead of database rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any, Literal, Self

from pydantic import ValidationError

from asi_core.errors import AsiError, one_sentence
from asi_core.records import HEAD_KIND
from asi_core.runs.validity.specs import check_spec
from asi_core.training.spec import RunSpec

Status = Literal["queued", "running", "completed", "failed", "cancelled", "interrupted"]
# Reserved for runs and jobs shipped with the app.
EXAMPLE_OWNER = "example"
# Owners whose runs anybody may change, as their users are not distinguished.
NOBODY = ("local", "command line")
ACTIVE: tuple[Status, ...] = ("queued", "running")
_LONGEST_REASON = 200
STATUSES: tuple[Status, ...] = (*ACTIVE, "completed", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log.

    Attributes:
        at: Unix seconds, UTC.
        level: info, warning or error.
    """

    at: float
    level: str
    text: str

    def as_row(self, run_id: str, attempt: str, number: int) -> dict[str, Any]:
        """The database row of the line with this number in its attempt."""
        return {"run_id": run_id, "attempt_token": attempt, "number": number, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as it is stored.

    Attributes:
        comparison: shared by runs that were launched together.
        summary: as `training.summary`, once the run has ended.
        error: the error in one sentence, if it failed.
        begins_from: id of the completed run that it lengthens; None if it has all its own steps.
    """

    id: str
    comparison: str
    position: int
    owner: str
    spec: RunSpec
    status: Status
    created_at: float
    started_at: float | None
    finished_at: float | None
    heartbeat_at: float | None
    attempt: int
    cancel_requested: bool
    summary: dict[str, Any] | None
    error: str | None
    begins_from: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The record of a row of the table of runs."""
        values = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "spec": RunSpec.of_record(row["spec"])})

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A stored run that cannot be read or drawn.

    Attributes:
        reason: what is invalid, without a full stop.
    """

    id: str
    comparison: str
    reason: str


def read_rows(rows: Iterable[Any]) -> tuple[list[RunRecord], list[LeftOut]]:
    """Convert database rows to records, leaving out rows with an invalid specification.

    An older version, or a manual change of the database, may have written anything.

    Args:
        rows: the rows as mappings.

    Returns:
        the records, and the rows left out.
    """
    found, left_out = [], []
    for row in rows:
        try:
            record = RunRecord.from_row(dict(row))
            check_spec(record.spec)
            found.append(record)
        except (AsiError, ValidationError) as error:
            reason = shorten(one_sentence(error), _LONGEST_REASON).rstrip(".")
            left_out.append(LeftOut(row["id"], row["comparison"], reason))
    return found, left_out


def kind_of(spec: RunSpec) -> str:
    """The kind of the method, or `HEAD_KIND` for a linear probe."""
    return HEAD_KIND if spec.layers == 0 else spec.method.kind
