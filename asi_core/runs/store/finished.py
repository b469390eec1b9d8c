"""Comparisons that were run elsewhere: shipped with the app, or imported from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.store.tables import events, log_lines, runs

_ROWS_AT_ONCE = 2000


class FinishedRuns:
    """The store's imported comparisons. Each has an edition; a new edition replaces an old one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def editions(self, comparisons: Sequence[str]) -> dict[str, str]:
        """The stored editions by comparison, of those that are stored."""
        c = runs.c
        query = select(c.comparison, func.max(c.token)).where(c.comparison.in_(comparisons))
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(c.comparison)).all()
        return {str(comparison): str(edition) for comparison, edition in rows}

    def add(
        self,
        comparison: Sequence[RunRecord],
        happened: Mapping[str, Iterable[dict[str, Any]]],
        edition: str,
        logs: Mapping[str, Sequence[LogLine]] | None = None,
    ) -> bool:
        """Store a comparison in one transaction, replacing other editions of it.

        Args:
            happened: run -> its events as JSON; may be generators.
            edition: at most 32 characters.
            logs: run -> lines of its log.

        Returns:
            whether it was written: False if this edition is already stored.
        """
        name = comparison[0].comparison
        try:
            with self._engine.begin() as connection:
                # The write comes first, to take SQLite's write lock: a second server waits here.
                other = runs.c.comparison == name, runs.c.token != edition
                connection.execute(delete(runs).where(*other))
                _insert(connection, runs, [_run_row(run, edition) for run in comparison])
                for rows in _event_rows(happened):
                    _insert(connection, events, rows)
                _insert(connection, log_lines, _log_rows(logs or {}, edition))
        except IntegrityError:
            if edition not in self.editions([name]).values():
                raise
            # It is already stored, perhaps by another server just now.
            return False
        return True


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _run_row(run: RunRecord, edition: str) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in RunRecord.__dataclass_fields__}
    return {**fields, "spec": run.spec.model_dump(mode="json"), "token": edition}


def _event_rows(
    happened: Mapping[str, Iterable[dict[str, Any]]],
) -> Iterator[list[dict[str, Any]]]:
    """Rows in chunks, to limit memory."""
    for run_id, items in happened.items():
        rest = iter(items)
        while rows := [
            {"run_id": run_id, "kind": item["kind"], "step": item["step"], "payload": item}
            for item in islice(rest, _ROWS_AT_ONCE)
        ]:
            yield rows


def _log_rows(logs: Mapping[str, Sequence[LogLine]], edition: str) -> list[dict[str, Any]]:
    return [
        line.as_row(run_id, edition, number)
        for run_id, lines in logs.items()
        for number, line in enumerate(lines)
    ]
