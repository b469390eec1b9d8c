"""Comparisons as one file that another installation can open: JSON, and arrays as .npz.

A zip with two members. `runs.json` says what was run and what came out; `curves.npz` has the
columns of steps and evaluations, named `<run>/<kind>/<column>`. Nothing in it is ever executed:
what is read is checked against the same records as everything else.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asi_core.errors import InvalidInput, one_sentence
from asi_core.runs.records import LogLine, RunRecord
from asi_core.training.events import EVENT_ADAPTER, EvaluationEvent, Event, StepEvent
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, format_bytes

_JSON, _CURVES = "runs.json", "curves.npz"
_FORMAT: Literal[1] = 1
_COLUMNS: dict[str, type[BaseModel]] = {"step": StepEvent, "evaluation": EvaluationEvent}

LARGEST_ARCHIVE_BYTES = 64 * MIB
# Of what is in it: ten runs of 20 000 steps have 25 MiB of curves.
_LARGEST_CONTENT_BYTES = 256 * MIB
# Read, a list takes ten times as much.
_LARGEST_JSON_BYTES = 64 * MIB
_MOST_RUNS = 400
_LAST_STEP = 2**31 - 1


# Unix seconds of this century, which every calendar can tell.
_Time = Annotated[float, Field(ge=0, le=4_102_444_800, allow_inf_nan=False)]


_NO_NUL = r"^[^\x00]*$"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    at: _Time
    level: Literal["debug", "info", "warning", "error", "critical"]
    text: str = Field(max_length=1000)


class ArchivedRun(BaseModel):
    """One run that has ended, without its curves.

    Attributes:
        rows: events that are no columns: what was prepared, and looks at the layers.
        log: its last lines, oldest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: RunSpec
    status: Literal["completed", "failed", "cancelled", "interrupted"]
    created_at: _Time
    started_at: _Time | None
    finished_at: _Time | None
    attempt: int = Field(ge=0, le=10**6)
    error: str | None = Field(default=None, max_length=10_000)
    rows: list[Event]
    log: list[_Line]


class Archive(BaseModel):
    """What `runs.json` says.

    Attributes:
        name, note: of the comparison.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    name: str = Field(default="", max_length=80, pattern=_NO_NUL)
    note: str = Field(default="", max_length=2000, pattern=_NO_NUL)
    runs: list[ArchivedRun] = Field(min_length=1, max_length=_MOST_RUNS)


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
        runs: those that have ended, in their order.
        happened: run -> all its events.
        logs: run -> lines of its log.

    Raises:
        InvalidInput: if none has ended, or they are more than an archive may hold.
    """
    ended = [run for run in runs if not run.is_active]
    if not ended:
        raise InvalidInput("an archive needs runs that have ended", "none", "wait for the first")
    archived = [_archived(run, happened[run.id], logs.get(run.id, ())) for run in ended]
    archive = Archive(format=_FORMAT, name=name, note=note, runs=archived)
    curves: dict[str, NDArray[Any]] = {}
    for number, run in enumerate(ended):
        for kind, model in _COLUMNS.items():
            rows = [event for event in happened[run.id] if event.kind == kind]
            for column in _fields(model):
                values = [getattr(row, column) for row in rows]
                # What no row has is no column.
                if None not in values:
                    curves[f"{number}/{kind}/{column}"] = np.array(values)
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **curves)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as file:
        told = archive.model_dump_json()
        _check_size("the list of runs", len(told.encode()), _LARGEST_JSON_BYTES)
        file.writestr(_JSON, told)
        file.writestr(_CURVES, written.getvalue())
    return result.getvalue()


def read_archive(content: IO[bytes]) -> tuple[Archive, list[list[Event]]]:
    """What a file of `write_archive` holds: the runs, and the events of each.

    Raises:
        InvalidInput: if it is no such file, is damaged, or is larger than any that is written.
    """
    _check_size("the file", content.seek(0, io.SEEK_END), LARGEST_ARCHIVE_BYTES)
    try:
        with zipfile.ZipFile(content) as file:
            members = _checked(file)
            archive = Archive.model_validate_json(_content(file, members[_JSON]))
            curves = _read_curves(_content(file, members[_CURVES]))
        happened = [
            [*run.rows, *_events(number, curves)] for number, run in enumerate(archive.runs)
        ]
        for run, events in zip(archive.runs, happened, strict=True):
            _check_storable(run, events)
        return archive, happened
    except ValidationError as error:
        raise _unreadable(one_sentence(error)) from None
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise _unreadable(one_sentence(error)) from None
    except (NotImplementedError, OverflowError, MemoryError, zlib.error) as error:
        raise _unreadable(one_sentence(error)) from None


def _archived(run: RunRecord, happened: Sequence[Event], lines: Sequence[LogLine]) -> ArchivedRun:
    fields = ("status", "created_at", "started_at", "finished_at", "attempt", "error")
    return ArchivedRun.model_validate(
        {
            **{name: getattr(run, name) for name in fields},
            "spec": run.spec,
            "rows": [event for event in happened if event.kind not in _COLUMNS],
            "log": [{"at": line.at, "level": line.level, "text": line.text} for line in lines],
        }
    )


def _checked(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The two members, which may not promise more than any archive holds."""
    members = {member.filename: member for member in file.infolist()}
    if set(members) != {_JSON, _CURVES} or len(file.infolist()) != len(members):
        raise _unreadable(f"it must hold {_JSON} and {_CURVES} alone")
    _check_size("the list of runs", members[_JSON].file_size, _LARGEST_JSON_BYTES)
    _check_size("the content", sum(member.file_size for member in members.values()))
    return members


def _content(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member, as long as it says: without the number, zipfile inflates all there is before it
    looks at the size."""
    # The other methods may inflate without bound at a single call.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression but deflate")
    with file.open(member) as stream:
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise ValueError("a member that is longer or shorter than it says")
    return content


def _read_curves(content: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz, none of them larger than it says."""
    curves = {}
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        _check_size("the content", sum(member.file_size for member in file.infolist()))
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            curves[name] = _read_array(_content(file, member))
    return curves


def _read_array(content: bytes) -> NDArray[Any]:
    """A list of numbers. The header is read first: it could ask for any amount of memory."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"arrays of version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
    promised = math.prod(shape) * dtype.itemsize
    if len(shape) != 1 or dtype.kind not in "fiu" or promised != len(content) - stream.tell():
        raise ValueError("an array that is no list of numbers")
    return np.frombuffer(content[stream.tell() :], dtype)


def _check_storable(run: ArchivedRun, events: Sequence[Event]) -> None:
    """What a database does not take, or what no run can have had."""
    if not all(0 <= event.step <= min(run.spec.steps, _LAST_STEP) for event in events):
        raise ValueError("steps beyond those of its run")
    done = {event.kind for event in events if event.step == run.spec.steps}
    if run.status == "completed" and not done >= {"step", "evaluation"}:
        raise ValueError("a completed run without its end")
    # Raises for numbers that are not finite, which JSON has no word for.
    texts = [json.dumps(event.model_dump(mode="json"), allow_nan=False) for event in events]
    texts += [run.spec.model_dump_json(), json.dumps(run.error), *(line.text for line in run.log)]
    if any("\\u0000" in text or "\x00" in text for text in texts):
        raise ValueError("signs that are no text")


def _events(number: int, curves: Mapping[str, NDArray[Any]]) -> Iterator[Event]:
    for kind, model in _COLUMNS.items():
        fields = [
            field
            for field in _fields(model)
            if model.model_fields[field].is_required() or f"{number}/{kind}/{field}" in curves
        ]
        columns = [curves[f"{number}/{kind}/{field}"].tolist() for field in fields]
        for row in zip(*columns, strict=True):
            values = dict(zip(fields, row, strict=True))
            yield EVENT_ADAPTER.validate_python({"kind": kind, **values})


def _fields(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if name != "kind"]


def _check_size(what: str, size: int, most: int = _LARGEST_CONTENT_BYTES) -> None:
    if size > most:
        raise InvalidInput(
            f"{what} of an archive may have at most {format_bytes(most)}",
            format_bytes(size),
            "take one that this app has written",
        )


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        "an archive of runs must be a file that this app has written",
        f"one that is not ({why.rstrip('.')})",
        "export it again",
    )
