"""Finding, naming and deleting stored runs.

`RunStore` handles single runs while they are active; this handles all that are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from asi_core.errors import InvalidInput, Refused
from asi_core.records import HEAD_KIND
from asi_core.runs.records import (
    ACTIVE,
    EXAMPLE_OWNER,
    NOBODY,
    LeftOut,
    RunRecord,
    read_rows,
)
from asi_core.runs.store.database import open_database
from asi_core.runs.store.tables import (
    comparison_notes,
    events,
    is_imported,
    is_linear_probe,
    known_time,
    runs,
)
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.settings import read_settings
from asi_core.training.events import EVENT_ADAPTER, Event

LONGEST_NAME, LONGEST_NOTE = 80, 2000
# Default limit of a query.
MOST_READ = 1000

_METHOD = runs.c.spec[("method", "kind")].as_string()
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "status": runs.c.status,
    "model": runs.c.spec["model"].as_string(),
    "dataset": runs.c.spec["dataset"].as_string(),
    "kind": case((is_linear_probe, HEAD_KIND), else_=_METHOD),
    "owner": runs.c.owner,
    "comparison": runs.c.comparison,
}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Selects runs; an empty field selects all.

    Attributes:
        kind: kinds of methods, or `HEAD_KIND`.
        imports_of: owners whose imported runs are included; None for all owners.
    """

    status: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    comparison: tuple[str, ...] = ()
    imports_of: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Runs that a filter selects.

    Attributes:
        runs: the newest first, those of a comparison in its order.
        left_out: selected runs that cannot be read or drawn.
        count: number of selected runs, without the limit.
    """

    runs: list[RunRecord]
    left_out: list[LeftOut]
    count: int


@dataclass(frozen=True, slots=True)
class Description:
    """A user's name and note for a comparison; empty if there are none."""

    name: str = ""
    note: str = ""


class RunLibrary:
    """The runs of one database.

    Args:
        url: URL of the store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)

    # Finding ----------------------------------------------------------------------------------

    def runs(self, wanted: RunFilter | None = None, limit: int = MOST_READ) -> list[RunRecord]:
        """The runs that `wanted` selects, newest first, those of a comparison in its order.

        Runs that cannot be read or drawn are left out.
        """
        return self.found(wanted, limit).runs

    def found(self, wanted: RunFilter | None = None, limit: int = MOST_READ) -> Found:
        """As `runs`, with the runs left out and the total number."""
        conditions = _conditions(wanted or RunFilter())
        newest = known_time(runs.c.created_at).desc()
        query = select(runs).where(*conditions).order_by(newest, runs.c.comparison, runs.c.position)
        count = self.count(wanted or RunFilter())
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
        readable, left_out = read_rows(rows)
        valid = []
        for run in readable:
            try:
                check_record(run)
            except InvalidRun as error:
                left_out.append(LeftOut(run.id, run.comparison, str(error)))
            else:
                valid.append(run)
        return Found(valid, left_out, count)

    def count(self, wanted: RunFilter) -> int:
        """The number of runs that `wanted` selects."""
        query = select(func.count()).select_from(runs).where(*_conditions(wanted))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def values(self, field: str) -> list[str]:
        """The existing values of a field of `RunFilter`, in alphabetical order."""
        query = select(_COLUMNS[field]).distinct()
        with self._engine.connect() as connection:
            # An invalid specification may lack the field.
            return sorted(value for value in connection.execute(query).scalars() if value)

    def last_event(self, run_id: str, kind: str) -> Event | None:
        """A run's latest event of a kind, None if it has none."""
        query = (
            select(events.c.payload)
            .where(events.c.run_id == run_id, events.c.kind == kind)
            .order_by(events.c.step.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            payload = connection.execute(query).scalar()
        return None if payload is None else EVENT_ADAPTER.validate_python(payload)

    def steps_done(self, comparison: str) -> dict[str, int]:
        """The last step of each run of a comparison, by id; runs without steps are left out."""
        query = (
            select(events.c.run_id, func.max(events.c.step))
            .join(runs, runs.c.id == events.c.run_id)
            .where(runs.c.comparison == comparison, events.c.kind == "step")
            .group_by(events.c.run_id)
        )
        with self._engine.connect() as connection:
            return {run_id: int(step) for run_id, step in connection.execute(query)}

    # Names and notes ----------------------------------------------------------------------------

    def descriptions(self) -> dict[str, Description]:
        """Names and notes, by comparison."""
        table = comparison_notes
        query = select(table.c.comparison, table.c.name, table.c.note)
        with self._engine.connect() as connection:
            return {row[0]: Description(row[1], row[2]) for row in connection.execute(query)}

    def describe(self, comparison: str, description: Description, owner: str | None = None) -> None:
        """Set the name and note of a comparison.

        Args:
            owner: the user, who must own all of its runs; None for no check.

        Raises:
            InvalidInput: if one is too long, or the comparison does not exist.
            Refused: if it has another user's runs, or if the installation is read-only.
        """
        read_settings().check_may_change()
        _check_length("a name", description.name, LONGEST_NAME)
        _check_length("a note", description.note, LONGEST_NOTE)
        runs_of_it = self.runs(RunFilter(comparison=(comparison,)))
        if owner is not None and any(run.owner not in (owner, *NOBODY) for run in runs_of_it):
            raise Refused(
                "only your own comparisons can be named, and this one has another user's runs: "
                "launch your own comparison."
            )
        if not runs_of_it:
            raise InvalidInput(
                "a name needs an existing comparison", repr(comparison), "choose another"
            )
        values = {"name": description.name.strip(), "note": description.note.strip()}
        if not self._rewrite(comparison, values):
            try:
                with self._engine.begin() as connection:
                    row = {"comparison": comparison, **values}
                    connection.execute(insert(comparison_notes), [row])
            except IntegrityError:
                # Another request has just inserted it.
                self._rewrite(comparison, values)

    def _rewrite(self, comparison: str, values: dict[str, str]) -> bool:
        table = comparison_notes
        statement = update(table).where(table.c.comparison == comparison).values(**values)
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    # Deleting -----------------------------------------------------------------------------------

    def delete_runs(self, run_ids: Sequence[str], owner: str | None = None) -> int:
        """Delete runs with all their measurements, in one transaction. Returns how many.

        A comparison's name is deleted with its last run.

        Args:
            owner: the user, who must own the runs; None for no check.

        Raises:
            InvalidInput: if one of them is active, shipped with the app, or another user's.
            Refused: if the installation is read-only.
        """
        return self._delete(runs.c.id.in_(run_ids), owner)

    def delete_comparison(self, comparison: str, owner: str | None = None) -> int:
        """Delete the runs of a comparison, as `delete_runs`."""
        return self._delete(runs.c.comparison == comparison, owner)

    def delete_older(self, at: float) -> int:
        """Delete runs that ended before `at`, Unix seconds, except shipped ones. Returns how many.

        Runs launched or written since are kept too: copies of completed runs, and imported runs,
        have the times of their originals.
        """
        c = runs.c
        old = (
            *(c.finished_at < at, c.created_at < at, func.coalesce(c.heartbeat_at, 0.0) < at),
            *(c.status.not_in(ACTIVE), c.owner != EXAMPLE_OWNER),
        )
        with self._engine.begin() as connection:
            count = connection.execute(delete(runs).where(*old)).rowcount
            _forget_lost_names(connection)
        return count

    def _delete(self, which: ColumnElement[bool], owner: str | None) -> int:
        read_settings().check_may_change()
        with self._engine.begin() as connection:
            # The write comes first, to take SQLite's write lock at once.
            count = connection.execute(_deletion(which, owner)).rowcount
            left = connection.execute(select(runs.c.owner).where(which)).scalars().all()
            if left:
                _refuse_deletion(left, owner)
            _forget_lost_names(connection)
        return count

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    chosen = {name: getattr(wanted, name) for name in _COLUMNS}
    found: list[ColumnElement[bool]] = [
        _COLUMNS[name].in_(values) for name, values in chosen.items() if values
    ]
    if wanted.imports_of is not None:
        found.append(or_(~is_imported, runs.c.owner.in_(wanted.imports_of)))
    return found


def _deletion(which: ColumnElement[bool], owner: str | None) -> Delete:
    may_go = [runs.c.status.not_in(ACTIVE), runs.c.owner != EXAMPLE_OWNER]
    if owner is not None:
        may_go.append(runs.c.owner.in_((owner, *NOBODY)))
    return delete(runs).where(which, *may_go)


def _refuse_deletion(owners: Sequence[str], owner: str | None) -> None:
    if EXAMPLE_OWNER in owners:
        shipped = f"{owners.count(EXAMPLE_OWNER)} of them"
        raise InvalidInput("runs shipped with the app cannot be deleted", shipped, "deselect them")
    others = 0 if owner is None else sum(whose not in (owner, *NOBODY) for whose in owners)
    if others:
        rule = "only your own runs can be deleted"
        raise InvalidInput(rule, f"{others} of another user", "deselect them")
    rule = "only runs that have ended can be deleted"
    raise InvalidInput(rule, f"{len(owners)} active runs", "cancel them first")


def _forget_lost_names(connection: Connection) -> None:
    kept = select(runs.c.comparison).distinct()
    connection.execute(delete(comparison_notes).where(comparison_notes.c.comparison.not_in(kept)))


def _check_length(what: str, text: str, longest: int) -> None:
    if len(text.strip()) > longest:
        raise InvalidInput(
            f"{what} must have at most {longest} characters", len(text.strip()), "shorten it"
        )
