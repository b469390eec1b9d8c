"""The store of runs: their status, events and logs.

A run goes queued -> running -> completed | failed | cancelled; one whose worker is lost is queued
again. Every change of status is one conditional UPDATE, and a worker's writes are fenced by the
token of its attempt: a second attempt, or a worker that was declared lost, cannot change anything.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from asi_core.runs.records import ACTIVE, LeftOut, LogLine, RunRecord, Status, read_rows
from asi_core.runs.store.attempts import Attempts, MustWait, Running
from asi_core.runs.store.database import AttemptLost, open_database
from asi_core.runs.store.fair_queue import Served, Waiting, in_line
from asi_core.runs.store.finished import FinishedRuns
from asi_core.runs.store.queueing import check_queue, copy_beginning, copy_run, twin_of
from asi_core.runs.store.tables import (
    events,
    is_imported,
    is_linear_probe,
    jobs,
    known_time,
    log_lines,
    runs,
)
from asi_core.settings import Limits
from asi_core.training.events import EVENT_ADAPTER, Event
from asi_core.training.spec import RunSpec
from asi_core.training.summary import summarise

_ALL_STEPS = 2**31 - 1
_PROCESS_ENDED = (
    "the program that trained this network of its user's own has ended: start the program again."
)


class RunStore:
    """Runs and their events in an SQLite or PostgreSQL database.

    Args:
        url: such as sqlite:////folder/asi.sqlite; the folder is created if needed.

    Attributes:
        attempts: attempts at the runs, for workers and the engine.
        finished: runs that were executed elsewhere and are stored here.

    Raises:
        InvalidInput, Unavailable, SQLAlchemyError, OSError: as `open_database`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)
        self.attempts = Attempts(self._engine, runs, "run")
        self._jobs = Attempts(self._engine, jobs, "job")
        self.finished = FinishedRuns(self._engine)

    # Reading ----------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        """The run with this id, None if there is none."""
        found = self._records(select(runs).where(runs.c.id == run_id))
        return found[0] if found else None

    def comparison(self, comparison: str) -> list[RunRecord]:
        """The runs of a comparison, in their order."""
        query = select(runs).where(runs.c.comparison == comparison).order_by(runs.c.position)
        return self._records(query)

    def unreadable(self, comparison: str) -> list[LeftOut]:
        """Runs of a comparison with an invalid specification, which `comparison` leaves out."""
        query = select(runs).where(runs.c.comparison == comparison).order_by(runs.c.position)
        with self._engine.connect() as connection:
            return read_rows(connection.execute(query).mappings().all())[1]

    def latest_comparisons(
        self,
        limit: int,
        *,
        of: Sequence[str] | None = None,
        but_of: Sequence[str] = (),
        imported: bool | None = None,
    ) -> list[list[RunRecord]]:
        """The newest comparisons, newest first.

        Args:
            of: owners to include; None for all.
            but_of: owners to exclude.
            imported: only imported comparisons, or only others; None for both.
        """
        newest = func.max(known_time(runs.c.created_at))
        names = select(runs.c.comparison).where(runs.c.owner.not_in(but_of))
        if of is not None:
            names = names.where(runs.c.owner.in_(of))
        if imported is not None:
            names = names.where(is_imported if imported else ~is_imported)
        names = names.group_by(runs.c.comparison).order_by(newest.desc())
        with self._engine.connect() as connection:
            found = connection.execute(names.limit(limit)).scalars().all()
        return [readable for name in found if (readable := self.comparison(name))]

    def active(self) -> list[RunRecord]:
        """Queued and running runs, oldest first."""
        query = select(runs).where(runs.c.status.in_(ACTIVE))
        return self._records(query.order_by(runs.c.created_at, runs.c.position))

    def all_events(self, run_id: str) -> list[Event]:
        """Events of all kinds, in the order of their steps."""
        return self.events_up_to(run_id, _ALL_STEPS)

    def events_up_to(self, run_id: str, step: int) -> list[Event]:
        """Events of all kinds up to and including a step, in the order of their steps."""
        query = (
            select(events.c.payload)
            .where(events.c.run_id == run_id, events.c.step <= step)
            .order_by(events.c.step, events.c.kind)
        )
        with self._engine.connect() as connection:
            payloads = connection.execute(query).scalars().all()
        return [EVENT_ADAPTER.validate_python(payload) for payload in payloads]

    def events(self, run_id: str, kind: str, after_step: int = -1) -> list[Event]:
        """Events of one kind after `after_step`, in the order of their steps."""
        query = (
            select(events.c.payload)
            .where(events.c.run_id == run_id, events.c.kind == kind, events.c.step > after_step)
            .order_by(events.c.step)
        )
        with self._engine.connect() as connection:
            payloads = connection.execute(query).scalars().all()
        return [EVENT_ADAPTER.validate_python(payload) for payload in payloads]

    def last_step(self, run_id: str) -> int:
        """The last step that any attempt at a run has stored; 0 if there is none."""
        query = select(func.max(events.c.step)).where(events.c.run_id == run_id)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar() or 0

    def log_tail(self, run_id: str, limit: int) -> list[LogLine]:
        """The last lines of a run's log, oldest first."""
        lines = log_lines
        query = (
            select(lines.c.at, lines.c.level, lines.c.text)
            .where(lines.c.run_id == run_id)
            .order_by(lines.c.at.desc(), lines.c.number.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [LogLine(*row) for row in reversed(connection.execute(query).all())]

    def queued(self) -> dict[str, float]:
        """Launch time (Unix seconds) of each queued run, by id; oldest first."""
        query = select(runs.c.id, runs.c.created_at).where(runs.c.status == "queued")
        with self._engine.connect() as connection:
            return {
                row.id: row.created_at
                for row in connection.execute(query.order_by(runs.c.created_at))
            }

    def fingerprint(self, run_id: str) -> str | None:
        """The hash of what a run's numbers depend on (`fingerprints_of`), None if unknown."""
        query = select(runs.c.fingerprint).where(runs.c.id == run_id)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def completed(self, run_ids: Collection[str]) -> set[str]:
        """Those of these runs that are completed."""
        query = select(runs.c.id).where(runs.c.id.in_(run_ids), runs.c.status == "completed")
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def line(self) -> list[str]:
        """Ids of queued runs, in the order in which they will be started.

        Runs that are retried alone come first; workers start nothing else until they can run.
        """
        c = runs.c
        queued = select(c.id, c.owner, c.created_at, ~is_linear_probe, c.position, c.tries)
        going = func.sum(case((c.status == "running", 1), else_=0))
        owners = select(c.owner, going, func.max(func.coalesce(c.started_at, 0.0)))
        with self._engine.connect() as connection:
            rows = connection.execute(queued.where(c.status == "queued")).all()
            if not rows:
                return []
            lost = sorted((row.created_at, row.position, row.id) for row in rows if row.tries)
            waiting = [Waiting(*row[:-1]) for row in rows if not row.tries]
            names = {row.owner for row in waiting}
            found = connection.execute(owners.where(c.owner.in_(names)).group_by(c.owner)).all()
        served = {owner: Served(running, last) for owner, running, last in found}
        return [*(run_id for _, _, run_id in lost), *in_line(waiting, served)]

    def cancel_requested(self, run_id: str) -> bool:
        """Whether the run should stop."""
        query = select(runs.c.cancel_requested).where(runs.c.id == run_id)
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar())

    # Launching ----------------------------------------------------------------------------------

    def answered(self, fingerprints: Sequence[str]) -> dict[str, RunRecord]:
        """The newest completed run by fingerprint (`fingerprints_of`), where there is one."""
        query = select(runs).where(
            runs.c.fingerprint.in_(fingerprints), runs.c.status == "completed"
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(runs.c.created_at)).mappings().all()
        fingerprint_of = {row["id"]: row["fingerprint"] for row in rows}
        return {fingerprint_of[run.id]: run for run in read_rows(rows)[0]}

    def going(self, owner: str, fingerprints: Sequence[str]) -> list[str]:
        """Comparisons of an owner with an active run that has one of these fingerprints."""
        c = runs.c
        mine = c.owner == owner, c.fingerprint.in_(fingerprints), c.status.in_(ACTIVE)
        query = select(c.comparison).where(*mine).group_by(c.comparison)
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(func.min(c.created_at))).scalars().all()
        return list(found)

    def create(
        self,
        specs: Sequence[RunSpec],
        owner: str,
        limits: Limits | None = None,
        fingerprints: Sequence[str] | None = None,
        answers: Mapping[int, RunRecord] | None = None,
        network: str | None = None,
        same: Callable[[Sequence[RunRecord]], bool] | None = None,
        begins_from: Sequence[str] | None = None,
    ) -> list[RunRecord]:
        """Queue the runs of a comparison in one transaction.

        Of equal simultaneous requests, one is written, and the others return its runs.

        Args:
            fingerprints: hashes of the specifications (`fingerprints_of`), by which completed runs
                are reused.
            answers: completed runs by position, which are copied instead of executed again.
            network: the network of the request (`networks`), if known.
            same: whether a comparison of the owner with the same fingerprints, active or just
                created, is the requested one; None for never.
            begins_from: by position, ids of completed runs that these lengthen, whose events they
                begin with; None for runs from the first step on.

        Raises:
            InvalidInput: if more runs of the owner, from the network, or of all owners would be
                queued or running than `limits` allow.
        """
        comparison, now = uuid.uuid4().hex[:12], time.time()
        rows = [
            {
                "id": uuid.uuid4().hex[:12],
                "comparison": comparison,
                "position": position,
                "owner": owner,
                "network": network,
                "spec": spec.model_dump(mode="json"),
                "status": "queued",
                "created_at": now,
                "attempt": 0,
                "cancel_requested": False,
                "fingerprint": None if fingerprints is None else fingerprints[position],
                "begins_from": None if begins_from is None else begins_from[position],
            }
            for position, spec in enumerate(specs)
        ]
        known = answers or {}
        queued = [row for position, row in enumerate(rows) if position not in known]
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # SQLite locks anyway. The next request must count these rows.
                connection.execute(text("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE"))
            if queued:
                connection.execute(insert(runs), queued)
            for row in queued if begins_from is not None else ():
                copy_beginning(connection, row, specs[rows.index(row)])
            for position, run in known.items():
                copy_run(connection, run, rows[position])
            twin = None if same is None else twin_of(connection, rows, same)
            if twin is not None:
                # An equal request was faster: discard these rows.
                connection.rollback()
                return twin
            if limits is not None:
                check_queue(connection, owner, network, len(queued), limits)
        return self.comparison(comparison)

    def begin(
        self, spec: RunSpec, owner: str, worker: str, comparison: str | None = None
    ) -> tuple[RunRecord, str]:
        """Store a run that this process trains itself, as running from now on.

        Args:
            worker: the process (`worker_id`).
            comparison: the comparison to which it is added; None for a new one.

        Returns:
            the run and its attempt's token.
        """
        name, now, token = comparison or uuid.uuid4().hex[:12], time.time(), uuid.uuid4().hex
        place = select(func.count()).where(runs.c.comparison == name)
        row = {
            "id": uuid.uuid4().hex[:12],
            "comparison": name,
            "position": place.scalar_subquery(),
            "owner": owner,
            "spec": spec.model_dump(mode="json"),
            "status": "running",
            **dict.fromkeys(("created_at", "started_at", "heartbeat_at"), now),
            "attempt": 1,
            "tries": 1,
            "token": token,
            "worker": worker,
            "cancel_requested": False,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(runs).values(row))
        run = self.run(str(row["id"]))
        assert run is not None, "it was just stored"
        return run, token

    def request_cancel(self, run_id: str) -> None:
        """Stop a run: at once if it is queued, within a step if it is running."""
        now = time.time()
        with self._engine.begin() as connection:
            queued = update(runs).where(runs.c.id == run_id, runs.c.status == "queued")
            connection.execute(queued.values(status="cancelled", finished_at=now))
            running = update(runs).where(runs.c.id == run_id, runs.c.status == "running")
            connection.execute(running.values(cancel_requested=True))

    # Writing by workers ---------------------------------------------------------------------------

    def claim_next(self, worker: str | None = None) -> tuple[RunRecord, str] | None:
        """Start an attempt at the next run of the queue.

        Args:
            worker: the process (`worker_id`).

        Returns:
            the run and the attempt's token; None if nothing is queued.

        Raises:
            MustWait: if the next run, or a job, needs the process without other work.
        """
        while (run_id := next(iter(self.line()), None)) is not None:
            if worker is not None:
                self._check_may_begin(run_id, worker)
            token = self.attempts.claim(run_id, worker)
            # Another worker may have been faster.
            if token is None:
                continue
            if (run := self.run(run_id)) is not None:
                return run, token
            with suppress(AttemptLost):
                error = "this version cannot read its specification."
                self.finish(run_id, token, "failed", error=error)
        return None

    def _check_may_begin(self, run_id: str, worker: str) -> None:
        self.attempts.check_may_begin(run_id, worker)
        # A job that is retried alone comes first: no run starts until a process is free for it.
        if self._jobs.has_lost_ones():
            raise MustWait(f"run {run_id} waits for a job that is retried alone")

    def append(
        self,
        run_id: str,
        token: str,
        new: Iterable[Event],
        lines: Mapping[int, LogLine] | None = None,
        turns: int | None = None,
        gained: bool = False,
    ) -> None:
        """Add events and log lines, with a heartbeat, in one transaction.

        An event replaces the same event of an earlier attempt.

        Args:
            lines: log lines by their number in the attempt.
            turns: the worker process's count of turns.
            gained: whether a new checkpoint has made progress, which resets the tries.

        Raises:
            AttemptLost: if the run does not belong to the token's attempt; nothing is written.
        """
        rows = [
            {
                "run_id": run_id,
                "kind": item.kind,
                "step": item.step,
                "payload": item.model_dump(mode="json"),
            }
            for item in new
        ]
        logged = [line.as_row(run_id, token, number) for number, line in (lines or {}).items()]
        progress = {"tries": 0} if gained else {}
        with self._engine.begin() as connection:
            self.attempts.fence(connection, run_id, token, turns=turns, **progress)
            if rows:
                _delete_events(connection, run_id, rows)
                connection.execute(insert(events), rows)
            if logged:
                # They may be stored already, if the confirmation was lost.
                mine = log_lines.c.run_id == run_id, log_lines.c.attempt_token == token
                same = log_lines.c.number.in_([row["number"] for row in logged])
                connection.execute(delete(log_lines).where(*mine, same))
                connection.execute(insert(log_lines), logged)

    def finish(
        self,
        run_id: str,
        token: str,
        status: Status,
        summary: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """End an attempt.

        Raises:
            AttemptLost: if the run does not belong to the token's attempt; nothing is written.
        """
        self.attempts.write(
            run_id, token, status=status, summary=summary, error=error, finished_at=time.time()
        )

    # Writing by the engine ------------------------------------------------------------------------

    def end_lost(self, attempt: Running, status: Status, error: str | None) -> bool:
        """End a run from outside its attempt, with the summary of its measurements.

        Returns:
            whether it was running.
        """
        summary = summarise(self.all_events(attempt.id))
        values = {"status": status, "summary": summary, "error": error}
        return self.attempts.end(attempt.id, attempt.token, **values)

    def put_back(self, attempt: Running, *, count_attempt: bool = True) -> bool:
        """Queue a run again whose attempt is lost; end one that only its own process can train.

        Args:
            count_attempt: whether it counts as a try of the run.

        Returns:
            whether it is queued.
        """
        run = self.run(attempt.id)
        if run is None or run.spec.own is None:
            return self.attempts.requeue(attempt.id, attempt.token, count_attempt=count_attempt)
        status: Status = "cancelled" if attempt.cancel_requested else "interrupted"
        self.end_lost(attempt, status, None if status == "cancelled" else _PROCESS_ENDED)
        return False

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _records(self, query: Select[Any]) -> list[RunRecord]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return read_rows(rows)[0]


def _delete_events(connection: Connection, run_id: str, rows: Sequence[dict[str, Any]]) -> None:
    for kind in {row["kind"] for row in rows}:
        same = [row["step"] for row in rows if row["kind"] == kind]
        mine = (events.c.run_id == run_id, events.c.kind == kind, events.c.step.in_(same))
        connection.execute(delete(events).where(*mine))
