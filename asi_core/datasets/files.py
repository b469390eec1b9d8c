"""Image files of a folder, read in place."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from asi_core.datasets import limits
from asi_core.datasets.formats import is_image, is_junk
from asi_core.datasets.others import Others
from asi_core.errors import InvalidInput, Unavailable
from asi_core.units import format_bytes


class Unreadable(Unavailable):
    """A file that cannot be read now, but may be later."""


class Changed(Unavailable):
    """A file that has changed."""


class ImageFile(NamedTuple):
    """An image file, not yet read.

    Attributes:
        name: relative to the folder or zip, parts separated by slashes.
        stamp: changes with the content: the CRC in a zip, mtime_ns in a folder.
    """

    name: str
    size_bytes: int
    stamp: int


class ImageFiles(ABC):
    """The image files below `path`, sorted by name.

    Attributes:
        title: name of the folder or zip in errors, which must not show paths of the server.
        others: the other files.
    """

    path: Path
    title: str
    files: tuple[ImageFile, ...]
    others: Others

    @abstractmethod
    def read(self, file: ImageFile) -> bytes:
        """The content of a file; thread-safe.

        Raises:
            Unreadable: if it cannot be read.
            Changed: if it has changed since `files` was made.
            Unavailable: if it is damaged.
        """


class FolderFiles(ImageFiles):
    """The image files of a folder, following links to folders.

    Raises:
        InvalidInput: if there are more or larger files than `limits` allow.
        Unavailable: if a folder cannot be read.
    """

    def __init__(self, path: Path, title: str | None = None) -> None:
        self.path, self.title, self.others = path, title or str(path), Others()
        self.files = within_limits(_walk(path, self.title, self.others), self.title)

    def read(self, file: ImageFile) -> bytes:
        try:
            with (self.path / file.name).open("rb") as stream:
                status = os.fstat(stream.fileno())
                data = stream.read(file.size_bytes)
        except OSError as error:
            raise Unreadable(
                f"{file.name!r} in {self.title} cannot be read ({error.strerror}): restore it."
            ) from error
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.stamp):
            raise changed(file, self.title)
        return data


def within_limits(files: Iterable[ImageFile], title: str) -> tuple[ImageFile, ...]:
    """The files, sorted by name.

    Raises:
        InvalidInput: as soon as there are more or larger files than `limits` allow.
    """
    kept: list[ImageFile] = []
    total_bytes = 0
    for file in files:
        kept.append(file)
        total_bytes += file.size_bytes
        if len(kept) > limits.MOST_IMAGES:
            _refuse(f"at most {limits.MOST_IMAGES} images", f"more in {title}")
        if file.size_bytes > limits.LARGEST_FILE_BYTES:
            most, got = format_bytes(limits.LARGEST_FILE_BYTES), format_bytes(file.size_bytes)
            _refuse(f"files of at most {most}", f"{got} in {file.name!r} of {title}")
        if total_bytes > limits.LARGEST_TOTAL_BYTES:
            most = format_bytes(limits.LARGEST_TOTAL_BYTES)
            _refuse(f"at most {most} uncompressed", f"more in {title}")
    return tuple(sorted(kept))


def fingerprint(files: Iterable[ImageFile]) -> str:
    """A digest of names, sizes and stamps; it differs if the content does."""
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def changed(file: ImageFile, title: str) -> Changed:
    """The error for a file that has changed."""
    return Changed(f"{file.name!r} in {title} changed while it was in use: start again.")


def _walk(root: Path, title: str, others: Others) -> Iterator[ImageFile]:
    """All images in all subfolders; `layout` checks whether they lie too deep for their class."""
    entries = 0
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for folder, below, names in os.walk(root, onerror=_raise_unreadable, followlinks=True):
        inside = Path(folder).relative_to(root)
        entries += len(below) + len(names)
        if entries > limits.MOST_ENTRIES:
            _refuse(f"at most {limits.MOST_ENTRIES} files", f"more in {title}")
        way = above.pop(folder, frozenset()) | {_identity(folder)}
        # A link that leads back up would be followed forever.
        below[:] = [
            name
            for name in below
            if not is_junk(name) and _identity(os.path.join(folder, name)) not in way
        ]
        above |= {os.path.join(folder, name): way for name in below}
        for name in below:
            others.add_folder((inside / name).as_posix())
        for name in names:
            yield from _image_file(root, (inside / name).as_posix(), others)


def _identity(folder: str) -> tuple[int, int]:
    """A value that is equal for two paths to one folder."""
    try:
        status = os.stat(folder)
    except OSError as error:
        _raise_unreadable(error)
    return status.st_dev, status.st_ino


def _image_file(root: Path, name: str, others: Others) -> Iterator[ImageFile]:
    if not is_image(name):
        others.add_file(name)
        return
    try:
        status = (root / name).stat()
    except OSError:
        return  # a broken link
    if stat.S_ISREG(status.st_mode):
        yield ImageFile(name, status.st_size, status.st_mtime_ns)


def _raise_unreadable(error: OSError) -> NoReturn:
    raise Unavailable(
        f"folder {error.filename} cannot be read ({error.strerror}): grant access, or choose "
        "another."
    ) from error


def _refuse(most: str, got: str) -> NoReturn:
    raise InvalidInput(f"a data set must have {most}", got, "choose a smaller one")
