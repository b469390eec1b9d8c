"""Reading the zip of an archive of runs with limits: sizes are checked before memory is allocated.

A few bytes can ask for any amount of memory: deflated zeros, a directory of empty members, the
header of a large array, deeply nested lists.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from asi_core.errors import InvalidInput
from asi_core.units import MIB, format_bytes

MOST_RUNS = 400
# Log lines per run; the last ones are kept.
MOST_LINES = 200
LARGEST_ARCHIVE_BYTES = 64 * MIB
# All members together, decompressed.
LARGEST_CONTENT_BYTES = 256 * MIB
# The largest shipped comparison has 1.4 MiB and 0.2 million values.
LARGEST_JSON_BYTES = 64 * MIB
MOST_JSON_VALUES, _MOST_JSON_PARTS, _MOST_JSON_NAMES = 8_000_000, 1_000_000, 1_000_000
# For lists that are values of an object, as no model has more layers. Spectra are nested in lists,
# and may be longer.
_MOST_KEYS, _LONGEST_LIST = 64, 64
_LONGEST_LISTS = {"runs": MOST_RUNS, "log": MOST_LINES, "rows": 20_001}
# An archive has at most 400 x 16 columns, with about 100 bytes each in the directory.
_LARGEST_DIRECTORY_BYTES = 2 * MIB
_ARRAY_HEADER_BYTES = 1024
_WIDEST_NUMBER_BYTES = 8

_END = b"PK\x05\x06"
_END_BYTES = 22
_END_64, _END_64_BYTES = b"PK\x06\x07", 20


@contextmanager
def opened_zip(content: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose members are within the limits.

    Raises:
        ValueError: if it has duplicate names, a comment, or is a zip64 file.
        InvalidInput: if its directory or its content is too large.
    """
    _check_directory(content)
    with zipfile.ZipFile(content) as file:
        members = file.infolist()
        if len(set(file.namelist())) != len(members):
            raise ValueError("two members have the same name")
        check_size("the content", sum(m.file_size for m in members), LARGEST_CONTENT_BYTES)
        yield file


def member_content(file: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member, reading no more than its declared size.

    Without a number of bytes, zipfile decompresses everything before it checks the size.

    Raises:
        ValueError: if its size differs from the declared one, or its compression is not deflate.
    """
    member = file.getinfo(name)
    # Other compressions may decompress without limit in a single call.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("its compression is not deflate")
    with file.open(member) as stream:
        found = stream.read(member.file_size + 1)
    if len(found) != member.file_size:
        raise ValueError("the size of a member differs from the declared one")
    return found


def check_json(content: bytes) -> None:
    """Check that JSON is small enough to be parsed.

    Raises:
        InvalidInput: if it has too many bytes or values.
    """
    check_size("the list of runs", len(content), LARGEST_JSON_BYTES)
    # Each value except the first of a list or object follows a comma.
    parts = content.count(b"[") + content.count(b"{")
    for what, count, most in (
        ("values", parts + content.count(b","), MOST_JSON_VALUES),
        ("lists and objects", parts, _MOST_JSON_PARTS),
        ("names", content.count(b":"), _MOST_JSON_NAMES),
    ):
        if count > most:
            raise InvalidInput(
                f"the list of runs of an archive may have at most {most} {what}",
                f"about {count}",
                "choose fewer runs",
            )


def read_json(content: bytes) -> Any:
    """Parse JSON, after `check_json`.

    Raises:
        ValueError, RecursionError: if it is not valid JSON, has NaN or infinity, is nested deeply,
            or has too long lists or objects: pydantic would report each wrong value, at a hundred
            times its bytes.
    """
    check_json(content)
    return json.loads(content, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(pairs) > _MOST_KEYS or len(found) != len(pairs):
        raise ValueError("an object has too many keys, or one key twice")
    for key, value in pairs:
        if isinstance(value, list) and len(value) > _LONGEST_LISTS.get(key, _LONGEST_LIST):
            raise ValueError(f"the list of {key[:20]} is too long")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a valid number")


def read_column(file: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """A one-dimensional array of at most `most` numbers from an .npy member.

    The header is checked first, as it could ask for any amount of memory.

    Raises:
        ValueError: if it is not such an array, or longer.
    """
    if file.getinfo(name).file_size > _ARRAY_HEADER_BYTES + _WIDEST_NUMBER_BYTES * most:
        raise ValueError(f"{name} has more than {most} numbers")
    found = member_content(file, name)
    stream = io.BytesIO(found)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has the .npy version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(
        stream, max_header_size=_ARRAY_HEADER_BYTES
    )
    promised = math.prod(shape) * dtype.itemsize
    is_list = len(shape) == 1 and shape[0] <= most
    is_plain = dtype.kind in "fiu" and dtype.itemsize <= _WIDEST_NUMBER_BYTES
    if not is_list or not is_plain or promised != len(found) - stream.tell():
        raise ValueError("an array is not a list of numbers")
    return np.frombuffer(found[stream.tell() :], dtype)


def check_size(what: str, size: int, most: int) -> None:
    """Raise `InvalidInput` if `what` has more than `most` bytes."""
    if size > most:
        raise InvalidInput(
            f"{what} of an archive may have at most {format_bytes(most)}",
            format_bytes(size),
            "choose a file exported by this app",
        )


def _check_directory(content: IO[bytes]) -> None:
    """Check the size of the directory, as zipfile creates an object for each entry."""
    size = content.seek(0, io.SEEK_END)
    content.seek(max(size - _END_BYTES - _END_64_BYTES, 0))
    tail = content.read()
    end, before = tail[-_END_BYTES:], tail[:-_END_BYTES]
    if len(end) < _END_BYTES or not end.startswith(_END) or not end.endswith(b"\0\0"):
        raise ValueError("it is not a zip file, or has a comment")
    if before.startswith(_END_64):
        raise ValueError("it is a zip64 file, for more than 4 GB or 65,535 members")
    check_size("the directory", int.from_bytes(end[12:16], "little"), _LARGEST_DIRECTORY_BYTES)
