"""Jobs: short computations by a worker, whose results are stored and reused.

A job goes queued -> running -> completed | failed | interrupted, by the same rules as a run.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.exc import IntegrityError

from asi_core.methods.asi import SubspaceIteration
from asi_core.methods.registry import foreign_code
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.records import ACTIVE, EXAMPLE_OWNER
from asi_core.runs.store.attempts import Attempts
from asi_core.runs.store.database import open_database
from asi_core.runs.store.tables import jobs
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.weights import official_fingerprint, weights_fingerprint

JobStatus = Literal["queued", "running", "completed", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job as it is stored.

    Attributes:
        kind: key into `job_kinds.JOB_KINDS`.
        spec: its specification; settings on which the result does not depend have defaults.
        result: JSON in the format of the kind, once the job is completed.
        error: the error in one sentence, if it failed.
    """

    id: str
    kind: str
    spec: RunSpec
    owner: str
    status: JobStatus
    created_at: float
    started_at: float | None
    finished_at: float | None
    heartbeat_at: float | None
    attempt: int
    result: dict[str, Any] | None
    error: str | None

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


class JobStore:
    """Jobs in an SQLite or PostgreSQL database.

    Args:
        url: such as sqlite:////folder/asi.sqlite; the folder is created if needed.

    Attributes:
        attempts: attempts at the jobs, for workers and the engine.

    Raises:
        InvalidInput, Unavailable, SQLAlchemyError, OSError: as `open_database`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)
        self.attempts = Attempts(self._engine, jobs, "job")

    # Reading ----------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobRecord | None:
        """The job with this id, None if there is none."""
        return self._first(select(jobs).where(jobs.c.id == job_id))

    def latest(self, kind: str, spec: RunSpec, *statuses: JobStatus) -> JobRecord | None:
        """The newest job for this specification, of any owner; of `statuses` only, if given."""
        query = select(jobs).where(jobs.c.key == _key(kind, job_kind(kind).settled(spec)))
        if statuses:
            query = query.where(jobs.c.status.in_(statuses))
        return self._first(query.order_by(jobs.c.created_at.desc()))

    def answers(self, kind: str, specs: Iterable[RunSpec]) -> dict[RunSpec, JobRecord]:
        """The newest completed job for each of these specifications that has one."""
        # Called while a slider is moved, for one model: cached, to check its files once.
        fingerprint = cache(weights_fingerprint)
        settled = {spec: _key(kind, job_kind(kind).settled(spec), fingerprint) for spec in specs}
        query = select(jobs).where(jobs.c.key.in_(settled.values()), jobs.c.status == "completed")
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(jobs.c.created_at)).mappings().all()
        found = {row["key"]: row for row in rows}
        return {s: _record(dict(found[key])) for s, key in settled.items() if key in found}

    def going(self, kind: str, spec: RunSpec) -> JobRecord | None:
        """The job that is queued or running for this specification."""
        return self.latest(kind, spec, "queued", "running")

    def queued(self) -> dict[str, float]:
        """Creation time (Unix seconds) of each queued job, by id; oldest first."""
        query = select(jobs.c.id, jobs.c.created_at).where(jobs.c.status == "queued")
        with self._engine.connect() as connection:
            return {
                row.id: row.created_at
                for row in connection.execute(query.order_by(jobs.c.created_at))
            }

    def active(self) -> list[tuple[str, str | None]]:
        """The owner and network of each job that is queued or running."""
        query = select(jobs.c.owner, jobs.c.network).where(jobs.c.status.in_(ACTIVE))
        with self._engine.connect() as connection:
            return [(row.owner, row.network) for row in connection.execute(query)]

    def delete_older(self, before: float) -> int:
        """Delete jobs that ended before a time (Unix seconds), except shipped ones.

        Returns:
            the number of deleted jobs.
        """
        old = (jobs.c.finished_at < before, jobs.c.owner != EXAMPLE_OWNER)
        with self._engine.begin() as connection:
            query = delete(jobs).where(jobs.c.status.not_in(ACTIVE), *old)
            return connection.execute(query).rowcount

    def create(self, kind: str, spec: RunSpec, owner: str, network: str | None = None) -> JobRecord:
        """Queue a job, or return the one for the same specification that is already active."""
        new = {"id": uuid.uuid4().hex[:12], "status": "queued", "network": network}
        row = _row(kind, spec, owner, **new)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(jobs), row)
        except IntegrityError:
            # An equal request was faster.
            if (going := self.going(kind, spec)) is not None:
                return going
            raise
        made = self.job(row["id"])
        assert made is not None
        return made

    def keep_examples(self, examples: Iterable[tuple[str, RunSpec, dict[str, Any]]]) -> None:
        """Make these results (kind, specification, result) the only jobs of the examples' owner.

        Results that are already stored are not changed.
        """
        rows = {}
        for kind, spec, result in examples:
            # Created at 0, so that results computed here are newer and preferred.
            ended = {"status": "completed", "result": result, "created_at": 0.0}
            row = _row(kind, spec, EXAMPLE_OWNER, **ended)
            row["key"] = _key(kind, job_kind(kind).settled(spec), official_fingerprint)
            name = f"example-{_digest([row['key'], result])[:16]}"
            rows[name] = {**row, "id": name}
        own = jobs.c.owner == EXAMPLE_OWNER
        with self._engine.begin() as connection:
            # The write comes first, to take SQLite's write lock: a second server waits here.
            connection.execute(delete(jobs).where(own, jobs.c.id.not_in(list(rows))))
            there = set(connection.execute(select(jobs.c.id).where(own)).scalars())
            missing = [row for name, row in rows.items() if name not in there]
            if missing:
                connection.execute(insert(jobs), missing)

    # Writing by workers -------------------------------------------------------------------------

    def complete(self, job_id: str, token: str, result: dict[str, Any]) -> None:
        """End an attempt with its result.

        Raises:
            AttemptLost: if the job does not belong to the token's attempt; nothing is written.
        """
        self.attempts.write(
            job_id, token, status="completed", result=result, finished_at=time.time()
        )

    def fail(self, job_id: str, token: str, error: str) -> None:
        """End an attempt without a result.

        Raises:
            AttemptLost: if the job does not belong to the token's attempt; nothing is written.
        """
        self.attempts.write(job_id, token, status="failed", error=error, finished_at=time.time())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _first(self, query: Select[Any]) -> JobRecord | None:
        with self._engine.connect() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return None if row is None else _record(dict(row))


def _row(kind: str, spec: RunSpec, owner: str, **values: Any) -> dict[str, Any]:
    settled = job_kind(kind).settled(spec)
    return {
        "kind": kind,
        "key": _key(kind, settled),
        "owner": owner,
        "spec": settled.model_dump(mode="json"),
        "created_at": time.time(),
        "attempt": 0,
        **values,
    }


def _key(
    kind: str,
    settled: RunSpec,
    fingerprint: Callable[[ModelCard], str] = weights_fingerprint,
) -> str:
    # Without defaults, so that a setting added to specifications later does not change old keys.
    settings = settled.model_dump(mode="json", exclude_defaults=True)
    # The default of ASI's factor update has changed, too: an old key without it means every step.
    if isinstance(settled.method, SubspaceIteration):
        settings["method"]["update"] = settled.method.update
        if settled.method.update == "every_step":
            del settings["method"]["update"]
    if "lean" in job_kind(kind).settings:
        # Its default has changed: an old key without it means layers that are not lean.
        settings["lean"] = settled.lean
    if "pretrained" in job_kind(kind).settings:
        settings["weights"] = (
            fingerprint(model_card(settled.model)) if settled.pretrained else "random"
        )
    if code := foreign_code(type(settled.method)):
        settings["code"] = code
    return _digest([kind, job_kind(kind).edition, settled.method.kind, settings])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _record(row: dict[str, Any]) -> JobRecord:
    fields = {name: row[name] for name in JobRecord.__dataclass_fields__}
    return JobRecord(**{**fields, "spec": RunSpec.model_validate(row["spec"])})
