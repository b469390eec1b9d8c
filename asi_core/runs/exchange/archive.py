"""Comparisons as one file that another installation can import: JSON, and arrays as .npz.

A zip with two members. `runs.json` has the runs; `curves.npz` has the columns of steps and
evaluations, named `<run>/<kind>/<column>`. Nothing in it is executed, and everything is validated.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import IO, Annotated, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.runs.exchange.archive_files import (
    LARGEST_ARCHIVE_BYTES,
    LARGEST_JSON_BYTES,
    MOST_LINES,
    MOST_RUNS,
    check_json,
    check_size,
    member_content,
    opened_zip,
    read_column,
    read_json,
)
from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.validity.probes import (
    check_model,
    check_prepared,
    check_probes,
    check_timelines,
)
from asi_core.runs.validity.rows import (
    COLUMNS,
    LATEST_TIME,
    OPTIONAL_COLUMNS,
    Range,
    check_columns,
    check_times,
)
from asi_core.runs.validity.specs import InvalidRun, check_spec
from asi_core.training.earlier import spec_before_updates
from asi_core.training.events import (
    EVENT_ADAPTER,
    Event,
    PreparedEvent,
    ProbeEvent,
    TimelineEvent,
)
from asi_core.training.spec import RunSpec

_JSON, _CURVES = "runs.json", "curves.npz"
# 1 was written before the default of ASI's factor update changed.
_FORMAT: Literal[2] = 2
# Of all runs together: enough for ten runs of 20 000 steps with an evaluation at each step.
_MOST_EVENTS = 400_000
_LONGEST_LINE, _LONGEST_REASON = 1000, 200

# Unix seconds from 1970 to 2100, which every calendar supports.
_Time = Annotated[float, Field(ge=0, le=LATEST_TIME, allow_inf_nan=False)]


# Of one run: kind of event -> field -> one value per event.
_Columns = Mapping[str, Mapping[str, NDArray[Any]]]
_NO_NUL = r"^[^\x00]*$"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    at: _Time
    level: Literal["debug", "info", "warning", "error", "critical"]
    text: str = Field(max_length=_LONGEST_LINE)


class ArchivedRun(BaseModel):
    """One ended run, without its curves.

    Attributes:
        rows: events that are not stored as columns: "prepared", probes and the timeline of a step.
        log: the last lines of its log, oldest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: RunSpec
    status: Literal["completed", "failed", "cancelled", "interrupted"]
    created_at: _Time
    started_at: _Time | None
    finished_at: _Time | None
    attempt: int = Field(ge=0, le=10**6)
    error: str | None = Field(default=None, max_length=10_000)
    rows: Annotated[
        list[Annotated[PreparedEvent | ProbeEvent | TimelineEvent, Field(discriminator="kind")]],
        FailFast(),
    ]
    log: list[_Line] = Field(max_length=MOST_LINES)


class Archive(BaseModel):
    """The content of `runs.json`.

    Attributes:
        name, note: name and note of the comparison.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1, 2]
    name: str = Field(default="", max_length=80, pattern=_NO_NUL)
    note: str = Field(default="", max_length=2000, pattern=_NO_NUL)
    runs: Annotated[list[ArchivedRun], FailFast()] = Field(min_length=1, max_length=MOST_RUNS)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, given: Any) -> Any:
        if not (isinstance(given, Mapping) and given.get("format") == 1):
            return given
        runs = given.get("runs")
        return {**given, "runs": list(map(_as_today, runs)) if isinstance(runs, list) else runs}


def _as_today(run: Any) -> Any:
    """A run of the first format; what is none is left for validation to refuse."""
    return (
        {**run, "spec": spec_before_updates(run.get("spec"))} if isinstance(run, Mapping) else run
    )


def write_archive(
    runs: Sequence[RunRecord],
    happened: Mapping[str, Sequence[Event]],
    logs: Mapping[str, Sequence[LogLine]],
    *,
    name: str = "",
    note: str = "",
) -> bytes:
    """A comparison as a file.

    Args:
        runs: runs in their order; those that have not ended are left out.
        happened: run -> all its events.
        logs: run -> lines of its log.

    Raises:
        InvalidInput: if none has ended, or they exceed the limits of an archive.
    """
    ended = [run for run in runs if not run.is_active]
    if not ended:
        raise InvalidInput("an archive needs runs that have ended", "none", "wait for the first")
    try:
        archived = [_archived(run, happened[run.id], logs.get(run.id, ())) for run in ended]
        archive = Archive(format=_FORMAT, name=name, note=note, runs=archived)
    except ValidationError as error:
        raise _too_much(_first_of(error)) from None
    curves: dict[str, NDArray[Any]] = {}
    for number, run in enumerate(ended):
        for kind, columns in COLUMNS.items():
            rows = [event for event in happened[run.id] if event.kind == kind]
            for column in (*columns, *OPTIONAL_COLUMNS[kind]):
                values = [getattr(row, column) for row in rows]
                # An optional value that some rows lack is not written.
                if column in columns or (rows and None not in values):
                    curves[_member(number, kind, column)] = np.array(values)
    runs_json = archive.model_dump_json().encode()
    check_json(runs_json)
    _check_count(
        sum(len(curves[_member(n, k, "step")]) for n in range(len(ended)) for k in COLUMNS)
    )
    return _zipped(runs_json, curves)


class Happened(Sequence[list[Event]]):
    """The events of each run of an archive, created on access: as objects they take a hundred times
    the memory."""

    def __init__(self, archive: Archive, columns: Sequence[_Columns]) -> None:
        self._runs, self._columns = archive.runs, columns

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, number: int) -> list[Event]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[list[Event]]: ...

    def __getitem__(self, number: int | slice) -> list[Event] | Sequence[list[Event]]:
        if isinstance(number, slice):
            return [self[n] for n in range(len(self))[number]]
        return [*self._runs[number].rows, *_events(self._columns[number])]


def read_archive(content: IO[bytes]) -> tuple[Archive, Happened]:
    """Read a file of `write_archive`: the runs, and the events of each.

    Sizes are checked before anything is decompressed or parsed. Values that are impossible for a
    run, its model or its method are refused.

    Raises:
        InvalidInput: if it is not such a file, is damaged, or is too large.
    """
    check_size("the file", content.seek(0, io.SEEK_END), LARGEST_ARCHIVE_BYTES)
    try:
        return _read(content)
    except ValidationError as error:
        raise _unreadable(_first_of(error)) from None
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise _unreadable(one_sentence(error)) from None
    except (NotImplementedError, OverflowError, MemoryError, zlib.error) as error:
        raise _unreadable(one_sentence(error)) from None


def _read(content: IO[bytes]) -> tuple[Archive, Happened]:
    with opened_zip(content) as file:
        if set(file.namelist()) != {_JSON, _CURVES}:
            raise ValueError(f"it must contain {_JSON} and {_CURVES} only")
        check_size("the list of runs", file.getinfo(_JSON).file_size, LARGEST_JSON_BYTES)
        archive = Archive.model_validate(read_json(member_content(file, _JSON)))
        curves = member_content(file, _CURVES)
    with opened_zip(io.BytesIO(curves)) as arrays:
        return archive, Happened(archive, _all_columns(archive, arrays))


def _all_columns(archive: Archive, arrays: zipfile.ZipFile) -> list[_Columns]:
    there = set(arrays.namelist())
    needed, known = _members(archive, COLUMNS), _members(archive, OPTIONAL_COLUMNS)
    if not needed <= there <= needed | known:
        raise ValueError("columns are missing, or do not belong to its runs")
    found: list[_Columns] = []
    count = 0
    for number, run in enumerate(archive.runs):
        try:
            columns = {kind: _columns(arrays, number, kind, run.spec) for kind in COLUMNS}
            count += sum(len(of_kind["step"]) for of_kind in columns.values())
            _check_count(count)
            _check_run(run, columns)
        except InvalidRun as error:
            raise _unreadable(f"run {number + 1}: {one_sentence(error)}") from None
        found.append(columns)
    return found


def _members(archive: Archive, columns: Mapping[str, Mapping[str, Range]]) -> set[str]:
    return {
        f"{_member(number, kind, column)}.npy"
        for number in range(len(archive.runs))
        for kind, names in columns.items()
        for column in names
    }


def _columns(
    arrays: zipfile.ZipFile, number: int, kind: str, spec: RunSpec
) -> dict[str, NDArray[Any]]:
    most, there = min(spec.steps, _MOST_EVENTS), arrays.namelist()
    members = {
        name: f"{_member(number, kind, name)}.npy"
        for name in (*COLUMNS[kind], *OPTIONAL_COLUMNS[kind])
    }
    return {n: read_column(arrays, m, most) for n, m in members.items() if m in there}


def _check_run(run: ArchivedRun, columns: _Columns) -> None:
    """Check for values that the database cannot store, or that are impossible for a run."""
    check_spec(run.spec)
    check_times(run.created_at, run.started_at, run.finished_at)
    if run.finished_at is not None and run.finished_at < (run.started_at or 0):
        raise InvalidRun("finished_at is before started_at")
    for kind, of_kind in columns.items():
        check_columns(run.spec, kind, of_kind)
        if run.status == "completed" and run.spec.steps not in of_kind["step"][-1:]:
            raise InvalidRun("it is completed, but its last step is missing")
    prepared = [row for row in run.rows if isinstance(row, PreparedEvent)]
    if len(prepared) > 1:
        raise InvalidRun("it was prepared twice")
    for row in prepared:
        check_prepared(run.spec, row)
    check_probes(run.spec, [row for row in run.rows if isinstance(row, ProbeEvent)])
    check_timelines(run.spec, [row for row in run.rows if isinstance(row, TimelineEvent)])
    check_model(run.spec, run.rows)
    texts = [row.model_dump_json() for row in run.rows]
    texts += [run.spec.model_dump_json(), json.dumps(run.error), *(line.text for line in run.log)]
    if any("\\u0000" in text or "\x00" in text for text in texts):
        raise InvalidRun("a text has NUL characters")


def _zipped(runs_json: bytes, curves: Mapping[str, NDArray[Any]]) -> bytes:
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **dict(curves))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_JSON, runs_json)
        file.writestr(_CURVES, written.getvalue())
    check_size("the file", len(result.getvalue()), LARGEST_ARCHIVE_BYTES)
    return result.getvalue()


def _archived(run: RunRecord, happened: Sequence[Event], lines: Sequence[LogLine]) -> ArchivedRun:
    fields = ("status", "created_at", "started_at", "finished_at", "attempt", "error")
    return ArchivedRun.model_validate(
        {
            **{name: getattr(run, name) for name in fields},
            "spec": run.spec,
            "rows": [event for event in happened if event.kind not in COLUMNS],
            "log": [{"at": line.at, "level": line.level, "text": line.text} for line in lines],
        }
    )


def _events(columns: _Columns) -> Iterator[Event]:
    for kind, of_kind in columns.items():
        for row in zip(*(values.tolist() for values in of_kind.values()), strict=True):
            named = dict(zip(of_kind, row, strict=True))
            yield EVENT_ADAPTER.validate_python({"kind": kind, **named})


def _member(number: int, kind: str, column: str) -> str:
    return f"{number}/{kind}/{column}"


def _check_count(count: int) -> None:
    if count > _MOST_EVENTS:
        raise _too_much(f"{count} steps and evaluations")


def _too_much(what: str) -> InvalidInput:
    return InvalidInput(
        f"an archive holds at most {MOST_RUNS} runs and {_MOST_EVENTS} steps and evaluations",
        what.rstrip("."),
        "choose fewer runs",
    )


def _first_of(error: ValidationError) -> str:
    """The first error, without the value, which may be of any length."""
    detail = error.errors(include_url=False, include_input=False)[0]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, AsiError):
        return one_sentence(cause)
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        "an archive of runs must be a file exported by this app",
        f"another file ({shorten(why, _LONGEST_REASON).rstrip('.')})",
        "export it again",
    )
