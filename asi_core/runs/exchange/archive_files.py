"""Reading the zip of an archive of runs within bounds: nothing is made before its size is known.

A few bytes can ask for any amount: deflated zeros, a directory of empty members, a header that
promises an array, a list in a list in a list.
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
# Of a run's log, the last ones.
MOST_LINES = 200
LARGEST_ARCHIVE_BYTES = 64 * MIB
# Of all members together, decompressed.
LARGEST_CONTENT_BYTES = 256 * MIB
# The largest comparison that comes with the app has 1.4 MiB and 0.2 million values.
LARGEST_JSON_BYTES = 64 * MIB
MOST_JSON_VALUES, _MOST_JSON_PARTS, _MOST_JSON_NAMES = 8_000_000, 1_000_000, 1_000_000
# Lists with a name of their own: no model has more layers. Spectra have none, and many values.
_MOST_KEYS, _LONGEST_LIST = 64, 64
_LONGEST_LISTS = {"runs": MOST_RUNS, "log": MOST_LINES, "rows": 20_001}
# Runs of an archive have at most 400 x 16 columns, and a directory of some 100 bytes for each.
_LARGEST_DIRECTORY_BYTES = 2 * MIB
_ARRAY_HEADER_BYTES = 1024
_WIDEST_NUMBER_BYTES = 8

_END = b"PK\x05\x06"
_END_BYTES = 22
_END_64, _END_64_BYTES = b"PK\x06\x07", 20


@contextmanager
def opened_zip(content: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A zip that promises no more than an archive has.

    Raises:
        ValueError: if it has more of them than any archive, two of one name, or no plain end.
        InvalidInput: if they promise more bytes than any archive has.
    """
    _check_directory(content)
    with zipfile.ZipFile(content) as file:
        members = file.infolist()
        if len(set(file.namelist())) != len(members):
            raise ValueError("two members of one name")
        check_size("the content", sum(m.file_size for m in members), LARGEST_CONTENT_BYTES)
        yield file


def member_content(file: zipfile.ZipFile, name: str) -> bytes:
    """A member, as long as it says: without the number, zipfile inflates all there is before it
    looks at the size.

    Raises:
        ValueError: if it is longer or shorter than it says, or not deflated.
    """
    member = file.getinfo(name)
    # The other methods may inflate without bound at a single call.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression but deflate")
    with file.open(member) as stream:
        found = stream.read(member.file_size + 1)
    if len(found) != member.file_size:
        raise ValueError("a member that is longer or shorter than it says")
    return found


def check_json(content: bytes) -> None:
    """Whether JSON is small enough to be parsed.

    Raises:
        InvalidInput: if it has more bytes or values than any archive.
    """
    check_size("the list of runs", len(content), LARGEST_JSON_BYTES)
    # Each value but the first of a list or object follows a comma.
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
                "take fewer runs along",
            )


def read_json(content: bytes) -> Any:
    """What JSON says, once `check_json` has found it small enough.

    Raises:
        ValueError, RecursionError: if it is no JSON, has other numbers, is deep, or has longer
            lists or objects than any archive: each wrong value would be told, at a hundred times
            its bytes.
    """
    check_json(content)
    return json.loads(content, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(pairs) > _MOST_KEYS or len(found) != len(pairs):
        raise ValueError("an object with too many keys, or one key twice")
    for key, value in pairs:
        if isinstance(value, list) and len(value) > _LONGEST_LISTS.get(key, _LONGEST_LIST):
            raise ValueError(f"too long a list of {key[:20]}")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name}, which is no number")


def read_column(file: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """A list of at most `most` numbers from an .npy.

    The header is read first: it could ask for any amount of memory.

    Raises:
        ValueError: if it is none, or a longer one.
    """
    if file.getinfo(name).file_size > _ARRAY_HEADER_BYTES + _WIDEST_NUMBER_BYTES * most:
        raise ValueError(f"{name} has more than {most} numbers")
    found = member_content(file, name)
    stream = io.BytesIO(found)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"arrays of version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(
        stream, max_header_size=_ARRAY_HEADER_BYTES
    )
    promised = math.prod(shape) * dtype.itemsize
    is_list = len(shape) == 1 and shape[0] <= most
    is_plain = dtype.kind in "fiu" and dtype.itemsize <= _WIDEST_NUMBER_BYTES
    if not is_list or not is_plain or promised != len(found) - stream.tell():
        raise ValueError("an array that is no list of numbers")
    return np.frombuffer(found[stream.tell() :], dtype)


def check_size(what: str, size: int, most: int) -> None:
    """Raise `InvalidInput` if `what` has more than `most` bytes."""
    if size > most:
        raise InvalidInput(
            f"{what} of an archive may have at most {format_bytes(most)}",
            format_bytes(size),
            "take one that this app has written",
        )


def _check_directory(content: IO[bytes]) -> None:
    """zipfile makes an object of each entry before anybody can count them."""
    size = content.seek(0, io.SEEK_END)
    content.seek(max(size - _END_BYTES - _END_64_BYTES, 0))
    tail = content.read()
    end, before = tail[-_END_BYTES:], tail[:-_END_BYTES]
    if len(end) < _END_BYTES or not end.startswith(_END) or not end.endswith(b"\0\0"):
        raise ValueError("no zip, or one with a comment")
    if before.startswith(_END_64):
        raise ValueError("a zip of more than four gigabytes or 65,535 members")
    check_size("the directory", int.from_bytes(end[12:16], "little"), _LARGEST_DIRECTORY_BYTES)
