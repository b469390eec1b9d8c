"""Receiving an uploaded zip: one that is too large is rejected before it is stored or listed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, BinaryIO

from asi_core.datasets import limits
from asi_core.errors import InvalidInput
from asi_core.units import format_bytes

_CHUNK = 2**20
# Signature of a member's entry in the zip directory.
_MEMBER = b"PK\x01\x02"


@contextmanager
def received(stream: BinaryIO, folder: Path) -> Iterator[tuple[Path, str]]:
    """The stream as a temporary file in `folder`, and its SHA-256.

    Raises:
        InvalidInput: if the zip has more bytes or members than allowed for an upload.
    """
    with NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as copy:
        path = Path(copy.name)
        try:
            digest = _copy(stream, copy)
            copy.flush()
            os.fsync(copy.fileno())
        except BaseException:
            path.unlink()
            raise
    try:
        yield path, digest
    finally:
        path.unlink(missing_ok=True)


def _copy(stream: BinaryIO, copy: IO[bytes]) -> str:
    """Copy up to the limits of an upload; members are counted before anything lists them.

    Returns:
        the SHA-256.
    """
    digest, size, members, end = hashlib.sha256(), 0, 0, b""
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        # The overlap is shorter than a signature: none is counted twice.
        seen = end + chunk
        members, end = members + seen.count(_MEMBER), seen[1 - len(_MEMBER) :]
        _check_size(size, members)
        digest.update(chunk)
        copy.write(chunk)
    return digest.hexdigest()


def _check_size(size: int, members: int) -> None:
    if size > limits.LARGEST_UPLOAD_BYTES:
        raise InvalidInput(
            f"an uploaded zip must have at most {format_bytes(limits.LARGEST_UPLOAD_BYTES)}",
            "more",
            "resize the images first, or put them on the server and use imagefolder:PATH",
        )
    if members > limits.MOST_UPLOAD_MEMBERS:
        raise InvalidInput(
            f"an uploaded zip must have at most {limits.MOST_UPLOAD_MEMBERS} members",
            "more",
            "pack fewer images, or put them on the server and use imagefolder:PATH",
        )
