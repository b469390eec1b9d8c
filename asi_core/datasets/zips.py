"""Image files of a zip, read in place: nothing is written to disk.

A zip comes from an untrusted source. It is rejected as a whole if a member could do harm when
unpacked, even though nothing is unpacked here: no honest tool writes such a member.
"""

from __future__ import annotations

import re
import stat
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from asi_core.datasets import limits
from asi_core.datasets.files import ImageFile, ImageFiles, changed, within_limits
from asi_core.datasets.formats import is_image
from asi_core.datasets.others import Others
from asi_core.errors import InvalidInput, Unavailable

# Errors that zipfile raises for damaged, truncated or unreadable archives.
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
# Names of the packed folder itself.
_ITSELF = ("./", ".\\")


class ZipFiles(ImageFiles):
    """The image files of a zip.

    Raises:
        InvalidInput: if a member is unsafe, or there are more or larger images than `limits` allow.
        Unavailable: if it cannot be read as a zip.
    """

    def __init__(self, path: Path, title: str | None = None) -> None:
        self.path, self.title, self.others = path, title or str(path), Others()
        self._lock = threading.Lock()
        self._archive: ZipFile | None = None
        # The original names of members whose name was changed by `plain_name`.
        self._called: dict[str, str] = {}
        with _open(path, self.title) as archive:
            self.files = within_limits(self._safe_images(archive.infolist()), self.title)

    def read(self, file: ImageFile) -> bytes:
        try:
            with self._lock:
                return self._read(file)
        except _BROKEN as error:
            raise Unavailable(
                f"{file.name!r} in {self.title} is damaged: restore the zip or remove the image."
            ) from error

    def _read(self, file: ImageFile) -> bytes:
        if self._archive is None:
            self._archive = _open(self.path, self.title)
        try:
            member = self._archive.getinfo(self._called.get(file.name, file.name))
        except KeyError:
            raise changed(file, self.title) from None
        if _image_file(member, file.name) != file:
            raise changed(file, self.title)
        with self._archive.open(member) as stream:
            # Without a size, zipfile inflates the whole member before it checks the length.
            return stream.read(file.size_bytes)

    def _safe_images(self, members: list[ZipInfo]) -> Iterator[ImageFile]:
        if len(members) > limits.MOST_ENTRIES:
            raise InvalidInput(
                f"a zip must have at most {limits.MOST_ENTRIES} members",
                f"{len(members)} in {self.title}",
                "pack only the images",
            )
        seen: set[str] = set()
        for member in members:
            name = plain_name(member.filename)
            is_read = is_image(name) and not name.endswith("/")
            twice = "a duplicate name" if name in seen else None
            fault = _fault(member) or (_fault_of_read(member) if is_read else None) or twice
            if fault is not None:
                raise InvalidInput(
                    f"a zip must have no member with {fault}",
                    f"{member.orig_filename!r} in {self.title}",
                    "pack the folder again",
                )
            seen.add(name)
            if is_read:
                if name != member.filename:
                    self._called[name] = member.filename
                yield _image_file(member, name)
            elif name.endswith("/"):
                self.others.add_folder(name.removesuffix("/"))
            elif name:
                self.others.add_file(name)


@lru_cache(maxsize=16)
def zip_files(path: Path, title: str, mtime_ns: int, size_bytes: int) -> ZipFiles:
    """The image files of a zip, cached until its time or size changes.

    Raises:
        InvalidInput, Unavailable: as `ZipFiles`.
    """
    return ZipFiles(path, title)


def plain_name(name: str) -> str:
    """A member's name as the format specifies: parts separated by slashes, without leading `./`.

    PowerShell 5 and similar tools write backslashes; many write `./`.
    """
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name.removeprefix("./")
    return name


def unsafe_name(name: str) -> str | None:
    """What is unsafe about a member's name (after `plain_name`), or None."""
    parts = name.removesuffix("/").split("/")
    faults = {
        "a null byte": "\0" in name,
        "an absolute path": name.startswith("/"),
        "a drive letter": re.match("[A-Za-z]:", name) is not None,
        "'..' in its path": ".." in parts,
        "an empty part": "" in parts or "." in parts,
    }
    return next((fault for fault, present in faults.items() if present), None)


def _open(path: Path, title: str) -> ZipFile:
    try:
        return ZipFile(path)
    except _BROKEN as error:
        raise Unavailable(
            f"{title} is not a zip, or is damaged: choose a folder or a zip of images."
        ) from error


def _fault(member: ZipInfo) -> str | None:
    """What could do harm in any member."""
    names = (plain_name(member.orig_filename), plain_name(member.filename))
    # Packing `.` makes an entry with an empty name. zipfile cuts names at null bytes;
    # `orig_filename` has the full name.
    if member.filename not in _ITSELF and (name := _first(map(unsafe_name, names))) is not None:
        return name
    kind = stat.S_IFMT(member.external_attr >> 16)
    return None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or device"


def _fault_of_read(member: ZipInfo) -> str | None:
    """What could do harm in a member that is read."""
    most = max(limits.LARGEST_RATIO * max(member.compress_size, 1), limits.SMALL_FILE_BYTES)
    faults = {
        "a password": bool(member.flag_bits & _ENCRYPTED),
        # Other methods may inflate without bound in a single call.
        "a compression other than deflate": member.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        f"a compression ratio above {limits.LARGEST_RATIO}": member.file_size > most,
    }
    return _first(fault if present else None for fault, present in faults.items())


def _first(faults: Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault is not None), None)


def _image_file(member: ZipInfo, name: str) -> ImageFile:
    return ImageFile(name, member.file_size, member.CRC)
