"""All runs that were ever kept: finding, naming and deleting them.

The store follows single runs while they go; this looks at what it has kept.
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
# Runs that are read at a time.
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
    """Which runs are meant; a field that names nothing excludes nothing.

    Attributes:
        kind: of the method, or `HEAD_KIND`.
        imports_of: whose imported runs are meant; None for everybody's.
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
    """Runs that a filter means.

    Attributes:
        runs: the newest, newest first, in their order in a comparison.
        left_out: of these, what cannot be read or drawn.
        count: of all runs that are meant.
    """

    runs: list[RunRecord]
    left_out: list[LeftOut]
    count: int


@dataclass(frozen=True, slots=True)
class Description:
    """What somebody calls a comparison and notes about it; empty where nobody did."""

    name: str = ""
    note: str = ""


class RunLibrary:
    """The runs of one database, beside the store that writes them.

    Args:
        url: the store's.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)

    # Finding ----------------------------------------------------------------------------------

    def runs(self, wanted: RunFilter | None = None, limit: int = MOST_READ) -> list[RunRecord]:
        """The newest runs that `wanted` means, newest first, in their order in a comparison;
        without those that cannot be read or drawn."""
        return self.found(wanted, limit).runs

    def found(self, wanted: RunFilter | None = None, limit: int = MOST_READ) -> Found:
        """As `runs`, with what is left out, and how many there are."""
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
        """How many runs `wanted` means."""
        query = select(func.count()).select_from(runs).where(*_conditions(wanted))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def values(self, field: str) -> list[str]:
        """What there is to choose from in a field of `RunFilter`, in alphabetical order."""
        query = select(_COLUMNS[field]).distinct()
        with self._engine.connect() as connection:
            # A specification that is none may lack it.
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
        """How many steps each run of a comparison has taken, by id; runs without steps are left
        out."""
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
        """Give a comparison a name and a note, in place of what it had.

        Args:
            owner: whose runs it must hold alone; None for anybody's.

        Raises:
            InvalidInput: if one is too long, or there is no such comparison.
            Refused: if it holds somebody else's runs, or where visitors may only look.
        """
        read_settings().check_may_change()
        _check_length("a name", description.name, LONGEST_NAME)
        _check_length("a note", description.note, LONGEST_NOTE)
        runs_of_it = self.runs(RunFilter(comparison=(comparison,)))
        if owner is not None and any(run.owner not in (owner, *NOBODY) for run in runs_of_it):
            raise Refused(
                "only one's own comparisons can be named, and this is somebody else's: launch "
                "one of your own."
            )
        if not runs_of_it:
            raise InvalidInput(
                "a name needs a comparison that is kept", repr(comparison), "choose another"
            )
        values = {"name": description.name.strip(), "note": description.note.strip()}
        if not self._rewrite(comparison, values):
            try:
                with self._engine.begin() as connection:
                    row = {"comparison": comparison, **values}
                    connection.execute(insert(comparison_notes), [row])
            except IntegrityError:
                # Somebody else was a moment earlier.
                self._rewrite(comparison, values)

    def _rewrite(self, comparison: str, values: dict[str, str]) -> bool:
        table = comparison_notes
        statement = update(table).where(table.c.comparison == comparison).values(**values)
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    # Ending -------------------------------------------------------------------------------------

    def delete_runs(self, run_ids: Sequence[str], owner: str | None = None) -> int:
        """Delete runs with all that was measured; all of them or none. Returns how many.

        A comparison's name goes with its last run.

        Args:
            owner: whose runs may go; None for everybody's.

        Raises:
            InvalidInput: if one of them is going, shipped with the app, or somebody else's.
            Refused: where visitors may only look.
        """
        return self._delete(runs.c.id.in_(run_ids), owner)

    def delete_comparison(self, comparison: str, owner: str | None = None) -> int:
        """Delete the runs of a comparison; like `delete_runs`."""
        return self._delete(runs.c.comparison == comparison, owner)

    def delete_older(self, at: float) -> int:
        """Delete runs that ended before `at`, Unix seconds; shipped ones stay. Returns how many.

        What was asked for or written since stays too: copies of answers, and what was imported,
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
            # A write comes first: it takes SQLite's lock, which a read before a write could not.
            count = connection.execute(_deletion(which, owner)).rowcount
            left = connection.execute(select(runs.c.owner).where(which)).scalars().all()
            if left:
                _refuse_deletion(left, owner)
            _forget_lost_names(connection)
        return count

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()


def _conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    asked = {name: getattr(wanted, name) for name in _COLUMNS}
    found: list[ColumnElement[bool]] = [
        _COLUMNS[name].in_(values) for name, values in asked.items() if values
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
        raise InvalidInput("runs that are shipped with the app stay", shipped, "leave them out")
    others = 0 if owner is None else sum(whose not in (owner, *NOBODY) for whose in owners)
    if others:
        rule = "only one's own runs can be deleted"
        raise InvalidInput(rule, f"{others} of somebody else", "leave them out")
    rule = "only runs that have ended can be deleted"
    raise InvalidInput(rule, f"{len(owners)} that are going", "cancel them first")


def _forget_lost_names(connection: Connection) -> None:
    kept = select(runs.c.comparison).distinct()
    connection.execute(delete(comparison_notes).where(comparison_notes.c.comparison.not_in(kept)))


def _check_length(what: str, text: str, longest: int) -> None:
    if len(text.strip()) > longest:
        raise InvalidInput(
            f"{what} must have at most {longest} characters", len(text.strip()), "shorten it"
        )
