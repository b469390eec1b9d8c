"""Whether images can be read: decoded once, and remembered while a file does not change.

Pages must respond immediately, so they use known results; the worker and the command line check.
Results are stored beside the runs, one line per image. An interrupted check resumes where it
stopped, and one new image in a folder means one image to check.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from PIL import __version__ as pillow_version

from asi_core.datasets.files import Changed, ImageFile, ImageFiles, Unreadable
from asi_core.datasets.formats import FORMATS
from asi_core.datasets.images import check_image
from asi_core.errors import InvalidInput, Unavailable, one_sentence
from asi_core.settings import read_settings

log = logging.getLogger(__name__)

# Increase when more or fewer files can be read.
_EDITION = 1
_READER = f"{_EDITION}/{pillow_version}/{','.join(FORMATS)}"
# Images checked at a time; other jobs may run in between.
_CHUNK = 64
_MOST_THREADS = 4
# The label of the control that leaves damaged images out.
SKIP_LABEL = "Leave out damaged images"
_MOST_NAMED, _LONGEST_NAME = 20, 80
# Possible results for an image.
_SOUND, _EMPTY, _LARGE, _DAMAGED = "sound", "empty", "too many pixels", "damaged"
# For a file without read permission; not stored, as this may change.
_NOT_NOW = "no access"
_FAULTS = (_SOUND, _EMPTY, _LARGE, _DAMAGED)
_KEY_LENGTH = 24


class Damaged(NamedTuple):
    """An image that cannot be read.

    Attributes:
        name: relative to its folder or zip.
        fault: the reason, in a few words.
    """

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class Damage:
    """The unreadable images of a folder or zip after all were checked.

    Attributes:
        damaged: the images that cannot be read; may be empty.
        count: number of all images.
        title: name of the folder or zip, for errors.
    """

    damaged: tuple[Damaged, ...]
    count: int
    title: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.damaged)

    @property
    def sentence(self) -> str:
        """What cannot be read, and why; without a full stop."""
        named = [f"{_shortened(name)!r} ({fault})" for name, fault in self.damaged[:_MOST_NAMED]]
        if len(self.damaged) > _MOST_NAMED:
            named.append(f"and {len(self.damaged) - _MOST_NAMED} more")
        images = f"{len(self.damaged)} of {self.count} images"
        return f"{images} in {self.title} cannot be read: {', '.join(named)}"

    def check(self) -> None:
        """Raise `Unavailable`, naming the images that cannot be read, if there are any."""
        if self.damaged:
            raise Unavailable(
                f"{self.sentence}; restore or remove them, or leave them out ({SKIP_LABEL!r} on "
                "the Train page, --skip-damaged on the command line)."
            )


def check_files(source: ImageFiles, files: Sequence[ImageFile]) -> Iterator[int]:
    """Find out which `files` can be read; yields the number left, at intervals.

    Raises:
        Changed: if a file has changed.
    """
    record = _record(source.path)
    keys = _keys(tuple(files))
    known = record.known()
    unknown = [
        (key, file)
        for key, file in zip(keys, files, strict=True)
        if known.get(key, _NOT_NOW) == _NOT_NOW
    ]
    if not unknown:
        return
    with ThreadPoolExecutor(min(read_settings().threads_each, _MOST_THREADS)) as threads:
        for start in range(0, len(unknown), _CHUNK):
            chunk = unknown[start : start + _CHUNK]
            faults = list(threads.map(partial(_fault, source), [file for _, file in chunk]))
            record.add({key: fault for (key, _), fault in zip(chunk, faults, strict=True)})
            yield len(unknown) - start - len(chunk)
    record.forget_all_but(set(keys))


def known_damage(source: ImageFiles, files: Sequence[ImageFile]) -> Damage | None:
    """Which of `files` cannot be read; None until all have been checked."""
    known = _record(source.path).known()
    keys = _keys(tuple(files))
    if not all(key in known for key in keys):
        return None
    found = zip(files, (known[key] for key in keys), strict=True)
    damaged = tuple(Damaged(file.name, fault) for file, fault in found if fault != _SOUND)
    return Damage(damaged, len(files), source.title)


def damage(source: ImageFiles, files: Sequence[ImageFile]) -> Damage:
    """Which of `files` cannot be read; checks those that are not known.

    Raises:
        Changed: if a file has changed.
    """
    while True:
        for _ in check_files(source, files):
            pass
        # May still be None if another process has written the record for other files meanwhile.
        if (known := known_damage(source, files)) is not None:
            return known


def forget_older(before: float) -> None:
    """Forget results from before a time (Unix seconds), so that they are checked again."""
    for path in _folder().glob("*.txt"):
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


class _Record:
    """Results for the images of one folder or zip, in a file; thread-safe.

    A line has an image's key and its fault. Lines are only appended, so that several processes may
    write; an incomplete line is ignored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[int, int, int] | None = None
        self._known: dict[str, str] = {}

    def known(self) -> Mapping[str, str]:
        """Key -> fault, `_SOUND` for an image that can be read."""
        with self._lock:
            try:
                status = self._path.stat()
            except OSError:
                return self._known
            state = status.st_ino, status.st_size, status.st_mtime_ns
            if state != self._read:
                lines = self._path.read_text(errors="replace").splitlines()
                found = (line.partition(" ") for line in lines)
                read = {key: fault for key, _, fault in found if fault in _FAULTS}
                self._known = {**self._known, **read}
                self._read = state
            return self._known

    def add(self, found: Mapping[str, str]) -> None:
        """Store faults by key."""
        with self._lock:
            self._known = {**self._known, **found}
        # The next process checks again what may become readable.
        lasting = {key: fault for key, fault in found.items() if fault in _FAULTS}
        self._write(lambda: _append(self._path, lasting))

    def forget_all_but(self, keys: set[str]) -> None:
        """Rewrite the file if most of its lines are for files that no longer exist."""
        known = dict(self.known())
        if len(known) > 2 * len(keys) + _CHUNK:
            left = {key: fault for key, fault in known.items() if key in keys}
            with self._lock:
                self._known = left
            self._write(lambda: _replace(self._path, left))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write()
        except OSError as error:
            log.warning("results of checking images could not be saved (%s)", one_sentence(error))


@lru_cache(maxsize=8)
def _record_at(path: Path) -> _Record:
    return _Record(path)


def _record(source: Path) -> _Record:
    name = hashlib.sha256(os.fsencode(source) + _READER.encode()).hexdigest()[:_KEY_LENGTH]
    return _record_at(_folder() / f"{name}.txt")


def _folder() -> Path:
    return read_settings().home / "checked"


@lru_cache(maxsize=8)
def _keys(files: tuple[ImageFile, ...]) -> tuple[str, ...]:
    texts = (json.dumps(file).encode() for file in files)
    return tuple(hashlib.sha256(text).hexdigest()[:_KEY_LENGTH] for text in texts)


def _fault(source: ImageFiles, file: ImageFile) -> str:
    if file.size_bytes == 0:
        return _EMPTY
    try:
        check_image(source.read(file), file.name)
    except Changed:
        raise
    except Unreadable:
        return _NOT_NOW
    except InvalidInput:
        return _LARGE
    except Unavailable:
        return _DAMAGED
    return _SOUND


def _append(path: Path, found: Mapping[str, str]) -> None:
    with path.open("ab") as file:
        file.write(_lines(found))


def _replace(path: Path, found: Mapping[str, str]) -> None:
    new = path.with_suffix(f".{os.getpid()}.part")
    new.write_bytes(_lines(found))
    os.replace(new, path)


def _lines(found: Mapping[str, str]) -> bytes:
    return "".join(f"{key} {fault}\n" for key, fault in found.items()).encode()


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME:]
