"""Parts of queueing a comparison: each is within the transaction that writes its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, insert, literal, not_, or_, select

from asi_core.errors import InvalidInput
from asi_core.runs.records import ACTIVE, RunRecord, read_rows
from asi_core.runs.store.tables import events, runs
from asi_core.settings import Limits
from asi_core.training.spec import RunSpec

# Equal requests within this time come from one click, or from a browser that repeats a request.
AT_ONCE_SECONDS = 5.0
# Key in the summary of a copied run: the id of the original.
FROM_RUN = "from_run"


def copy_run(connection: Connection, run: RunRecord, row: dict[str, Any]) -> None:
    """Insert a copy of a completed run, with all its events, as `row`."""
    fields = ("status", "started_at", "finished_at", "attempt")
    summary = {**(run.summary or {}), FROM_RUN: (run.summary or {}).get(FROM_RUN, run.id)}
    new = {"summary": summary, "begins_from": run.begins_from}
    values = {**row, **{name: getattr(run, name) for name in fields}, **new}
    connection.execute(insert(runs), [values])
    c = events.c
    same = select(literal(row["id"]), c.kind, c.step, c.payload).where(c.run_id == run.id)
    connection.execute(insert(events).from_select(["run_id", "kind", "step", "payload"], same))


def copy_beginning(connection: Connection, row: dict[str, Any], spec: RunSpec) -> None:
    """Give a longer run, which was just written as `row`, the events of the one that it lengthens.

    All but an evaluation that only the last step of a run has.
    """
    c, interval = events.c, spec.evaluation_interval
    only_as_last = and_(c.kind == "evaluation", c.step % interval != 0)
    columns = literal(row["id"]), c.kind, c.step, c.payload
    same = select(*columns).where(c.run_id == row["begins_from"], not_(only_as_last))
    connection.execute(insert(events).from_select(["run_id", "kind", "step", "payload"], same))


def twin_of(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
    same: Callable[[Sequence[RunRecord]], bool],
) -> list[RunRecord] | None:
    """An existing comparison that `rows`, which were just written, would repeat."""
    c, first = runs.c, rows[0]
    fingerprints = [row["fingerprint"] for row in rows]
    lately = or_(c.status.in_(ACTIVE), c.created_at >= first["created_at"] - AT_ONCE_SECONDS)
    others = c.owner == first["owner"], c.comparison != first["comparison"]
    query = select(c.comparison).where(*others, c.fingerprint.in_(fingerprints), lately)
    names = connection.execute(query.order_by(c.created_at)).scalars().all()
    for name in dict.fromkeys(names):
        its = select(runs).where(c.comparison == name).order_by(c.position)
        found = connection.execute(its).mappings().all()
        records = read_rows(found)[0]
        if [row["fingerprint"] for row in found] == fingerprints and same(records):
            return records
    return None


def check_queue(
    connection: Connection, owner: str, network: str | None, new: int, limits: Limits
) -> None:
    """Raise `InvalidInput` if more runs are queued or running, with the `new` ones, than may be."""
    active = select(func.count()).where(runs.c.status.in_(ACTIVE))
    from_there = active.where(runs.c.network == network)
    for count, most, whose in (
        (active.where(runs.c.owner == owner), limits.runs_per_owner, "of one owner"),
        # Nothing equals NULL: without a known network, the count is 0.
        (from_there, limits.runs_per_network, "from one network address"),
        (active, limits.runs, "of all visitors together"),
    ):
        found = connection.execute(count).scalar_one()
        if found > most:
            raise InvalidInput(
                f"at most {most} runs {whose} may be queued or active at a time",
                f"{new} more than {found - new}",
                "wait until some have ended, or launch fewer",
            )
