"""What the store hands out: frozen records, never rows."""

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
# Of what came with the app; nobody else is called so.
EXAMPLE_OWNER = "example"
# Whose runs anybody may change: of those who were not told apart.
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
        """The row of the line of this number of an attempt."""
        return {"run_id": run_id, "attempt_token": attempt, "number": number, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the store knows it.

    Attributes:
        comparison: shared by runs that were launched together.
        summary: the numbers of `training.summary`, once the run has ended.
        error: why it failed, in one sentence.
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
    """A run that is kept and cannot be read or drawn.

    Attributes:
        reason: what no run can have, without a full stop.
    """

    id: str
    comparison: str
    reason: str


def read_rows(rows: Iterable[Any]) -> tuple[list[RunRecord], list[LeftOut]]:
    """Records of rows of the table of runs, and the rows whose specification is none.

    Args:
        rows: as mappings.

    An older version, or somebody at the database, may have written anything.
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
    """The kind of the method, or `HEAD_KIND` where the classifier alone is trained."""
    return HEAD_KIND if spec.layers == 0 else spec.method.kind
