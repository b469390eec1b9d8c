"""Image files of a zip, read in place: nothing is ever written to disk.

A zip comes from anywhere, so it is refused as a whole if a member could do harm when unpacked, even
though nothing is unpacked here: no honest tool writes such a member.
"""

from __future__ import annotations

import re
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from asi_core.datasets import limits
from asi_core.datasets.files import ImageFile, ImageFiles, changed, is_image, within_limits
from asi_core.errors import InvalidInput, Unavailable

# What zipfile raises for damaged, truncated or unreadable archives.
_BROKEN = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)
_ENCRYPTED = 1


class ZipFiles(ImageFiles):
    """The image files of a zip.

    Raises:
        InvalidInput: if a member is unsafe, or images are more or larger than `limits` allow.
        Unavailable: if it cannot be read as a zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._archive: ZipFile | None = None
        with _open(path) as archive:
            self.files = within_limits(_safe_images(archive.infolist(), path), path)

    def read(self, file: ImageFile) -> bytes:
        try:
            with self._lock:
                return self._read(file)
        except _BROKEN as error:
            raise Unavailable(
                f"{file.name!r} in {self.path} is damaged: restore the zip or remove the image."
            ) from error

    def _read(self, file: ImageFile) -> bytes:
        if self._archive is None:
            self._archive = _open(self.path)
        try:
            member = self._archive.getinfo(file.name)
        except KeyError:
            raise changed(file, self.path) from None
        if _image_file(member) != file:
            raise changed(file, self.path)
        with self._archive.open(member) as stream:
            # Without the number, zipfile inflates all there is before it looks at the size.
            return stream.read(file.size_bytes)


@lru_cache(maxsize=4)
def zip_files(path: Path, mtime_ns: int, size_bytes: int) -> ZipFiles:
    """The image files of a zip, looked at once until it has another time or size.

    Raises:
        InvalidInput, Unavailable: as `ZipFiles` does.
    """
    return ZipFiles(path)


def unsafe_name(name: str) -> str | None:
    """What is unsafe about a member's name, or None."""
    parts = name.removesuffix("/").split("/")
    faults = {
        "a null byte": "\0" in name,
        "a backslash": "\\" in name,
        "an absolute path": name.startswith("/"),
        "a drive letter": re.match("[A-Za-z]:", name) is not None,
        "a step up": ".." in parts,
        "an empty part": "" in parts or "." in parts,
    }
    return next((fault for fault, present in faults.items() if present), None)


def _open(path: Path) -> ZipFile:
    try:
        return ZipFile(path)
    except _BROKEN as error:
        raise Unavailable(
            f"{path} is not a zip, or a damaged one: choose a folder or a zip of images."
        ) from error


def _safe_images(members: list[ZipInfo], path: Path) -> Iterator[ImageFile]:
    if len(members) > limits.MOST_ENTRIES:
        raise InvalidInput(
            f"a zip must have at most {limits.MOST_ENTRIES} members",
            f"{len(members)} in {path}",
            "pack the images alone",
        )
    seen: set[str] = set()
    for member in members:
        fault = _fault(member) or ("a name that comes twice" if member.filename in seen else None)
        if fault is not None:
            raise InvalidInput(
                f"a zip must have no member with {fault}",
                f"{member.orig_filename!r} in {path}",
                "pack the folder again",
            )
        seen.add(member.filename)
        if not member.is_dir() and is_image(member.filename):
            yield _image_file(member)


def _fault(member: ZipInfo) -> str | None:
    # zipfile cuts names at null bytes; the original shows them.
    name = unsafe_name(member.orig_filename) or unsafe_name(member.filename)
    if name is not None:
        return name
    kind = stat.S_IFMT(member.external_attr >> 16)
    faults = {
        "a link or device": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "a password": bool(member.flag_bits & _ENCRYPTED),
        # The other methods may inflate without bound at a single call.
        "a compression but deflate": member.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        f"a compression of more than {limits.LARGEST_RATIO} to 1": (
            member.file_size > limits.LARGEST_RATIO * max(member.compress_size, 1)
        ),
    }
    return next((fault for fault, present in faults.items() if present), None)


def _image_file(member: ZipInfo) -> ImageFile:
    return ImageFile(member.filename, member.file_size, member.CRC)
