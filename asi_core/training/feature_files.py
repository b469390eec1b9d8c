"""Frozen features on disk: kept across restarts, and shared by all processes of a machine.

An entry is a folder with one file per value, read through a memory map, and one file with a
checksum per image, 0 where there is none. A process trusts a row once its checksum is verified, so
an interrupted write (by a kill or a power failure) is a row that is computed again. Several
processes may write to an entry at once: all of them write the same bits.

Entries are created and removed under a lock, and moved into place when complete. When a new one
needs room, the least recently used are removed first. Where the system does not remove open files
they stay; where it does, their readers are not disturbed.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from torch import Tensor

from asi_core.training.feature_rows import RowFormat, Rows, needed_bytes
from asi_core.units import format_bytes

log = logging.getLogger(__name__)

_FACTS, _CHECKS, _LOCK = "facts.json", "checks.bin", ".lock"
_UNFINISHED, _REMOVED = ".new-", ".gone-"
# The share of a disk's free space for features: they must never fill it for the run store.
_SHARE_OF_FREE_DISK = 0.5


class ValueFacts(BaseModel):
    """Shape and type of one row of a value, for JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...]
    dtype: str

    @field_validator("dtype")
    @classmethod
    def _a_type(cls, name: str) -> str:
        if not isinstance(getattr(torch, name, None), torch.dtype):
            raise ValueError(f"{name!r} is not a tensor type")
        return name


class EntryFacts(BaseModel):
    """The description stored in an entry.

    Attributes:
        images_key, crossing: of the frozen part whose values are kept.
        count: number of images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images_key: str
    crossing: tuple[str, ...]
    count: int
    values: tuple[ValueFacts, ...]

    @property
    def formats(self) -> tuple[RowFormat, ...]:
        return tuple(RowFormat(v.shape, getattr(torch, v.dtype)) for v in self.values)

    @property
    def total_bytes(self) -> int:
        return needed_bytes(self.formats, self.count)


class FileRows(Rows):
    """Rows of one entry; values are moved to the device on which they are used.

    Raises:
        OSError, ValueError: if the entry is not complete.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        facts = EntryFacts.model_validate_json((folder / _FACTS).read_text(encoding="utf-8"))
        self._device, self._formats = device, facts.formats
        self._maps = [
            _mapped(folder / _value_name(place), (facts.count, value.row_bytes), np.uint8)
            for place, value in enumerate(facts.formats)
        ]
        self._checks = _mapped(folder / _CHECKS, (facts.count,), np.uint32)
        # Open as long as this object lives: an entry removed meanwhile can still be written to.
        self._files = [_opened(folder / _value_name(i)) for i in range(len(facts.values))]
        self._check_file = _opened(folder / _CHECKS)
        self._trusted = np.zeros(facts.count, dtype=bool)
        self._folder = folder
        self.note_use()

    def note_use(self) -> None:
        with suppress(OSError):
            os.utime(self._folder)

    @property
    def filled_count(self) -> int:
        return int(np.count_nonzero(self._checks))

    def missing(self, indices: Tensor) -> Tensor:
        wanted = np.unique(indices.numpy())
        for index in wanted[~self._trusted[wanted]]:
            found = self._checks[index]
            if found != 0:
                self._trusted[index] = found == _checksum(rows[index] for rows in self._maps)
        return torch.from_numpy(wanted[~self._trusted[wanted]])

    def write(self, indices: Tensor, values: Sequence[Tensor]) -> None:
        # Not through the map: on a full disk that would kill the process instead of raising.
        blocks = [_as_bytes(value) for value in values]
        places = indices.numpy()
        for file, block in zip(self._files, blocks, strict=True):
            _write_rows(file, places, block)
        checks = [_checksum(block[row] for block in blocks) for row in range(len(places))]
        as_rows = np.array(checks, dtype=np.uint32).view(np.uint8).reshape(len(places), -1)
        _write_rows(self._check_file, places, as_rows)

    def read(self, indices: Tensor) -> tuple[Tensor, ...]:
        places = indices.numpy()
        return tuple(
            torch.from_numpy(rows[places])
            .view(value.dtype)
            .view(len(places), *value.shape)
            .to(self._device)
            for rows, value in zip(self._maps, self._formats, strict=True)
        )


class FeatureDirectory:
    """All entries of a machine.

    Args:
        limit_bytes: maximum size of all entries together, counted as if full.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root, self._limit = root, limit_bytes

    def find(self, key: str, device: torch.device) -> FileRows | None:
        """The rows kept under `key`, if there are any."""
        folder = self._root / key
        if not folder.is_dir():
            return None
        try:
            return FileRows(folder, device)
        except (OSError, ValueError) as error:
            log.warning("frozen features %s cannot be read and will be recomputed: %s", key, error)
            return None

    def facts_of(self, images_key: str) -> Iterator[tuple[str, EntryFacts]]:
        """Keys and facts of the entries for these images."""
        for key, facts, _ in self._entries():
            if facts.images_key == images_key:
                yield key, facts

    def make(self, key: str, facts: EntryFacts, device: torch.device) -> FileRows | None:
        """A new entry for `key`; None if there is no room for it.

        Raises:
            OSError: if it cannot be written.
        """
        if facts.total_bytes > self._limit:
            return None
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / _LOCK):
            known = self.find(key, device)
            if known is not None:
                return known
            self._remove(self._root / key)
            self._tidy()
            if not self._make_room(facts.total_bytes):
                return None
            unfinished = self._root / f"{_UNFINISHED}{uuid4().hex}"
            unfinished.mkdir()
            for place, value in enumerate(facts.formats):
                _make_empty(unfinished / _value_name(place), facts.count * value.row_bytes)
            _make_empty(unfinished / _CHECKS, facts.count * np.dtype(np.uint32).itemsize)
            (unfinished / _FACTS).write_text(facts.model_dump_json(), encoding="utf-8")
            unfinished.rename(self._root / key)
        return FileRows(self._root / key, device)

    def _make_room(self, needed: int) -> bool:
        """Remove the least recently used entries, as far as needed."""
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        total = sum(facts.total_bytes for _, facts, _ in entries)
        for key, facts, _ in entries:
            if total + needed <= self._limit:
                break
            log.info("frozen features %s removed to free %s", key, format_bytes(facts.total_bytes))
            if self._remove(self._root / key):
                total -= facts.total_bytes
        free = shutil.disk_usage(self._root).free
        return total + needed <= self._limit and needed <= _SHARE_OF_FREE_DISK * free

    def _entries(self) -> Iterator[tuple[str, EntryFacts, float]]:
        """Key, facts and time of last use of the readable entries."""
        if not self._root.is_dir():
            return
        for folder in self._root.iterdir():
            if folder.name.startswith("."):
                continue
            try:
                facts = EntryFacts.model_validate_json(
                    (folder / _FACTS).read_text(encoding="utf-8")
                )
                used = folder.stat().st_mtime
            except (OSError, ValidationError):
                continue
            yield folder.name, facts, used

    def _remove(self, folder: Path) -> bool:
        if not folder.exists():
            return True
        gone = self._root / f"{_REMOVED}{uuid4().hex}"
        try:
            folder.rename(gone)
        except OSError:
            # Another process reads it, on a system where open files stay.
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _tidy(self) -> None:
        """Remove what killed processes left half created or half removed."""
        for folder in self._root.glob(".*-*"):
            if folder.name.startswith((_UNFINISHED, _REMOVED)):
                shutil.rmtree(folder, ignore_errors=True)


def facts_of_values(
    values: Sequence[Tensor], *, images_key: str, crossing: tuple[str, ...], count: int
) -> EntryFacts:
    """The facts of an entry for `count` images with values like these."""
    rows = [RowFormat.of(value) for value in values]
    return EntryFacts(
        images_key=images_key,
        crossing=crossing,
        count=count,
        values=tuple(
            ValueFacts(shape=row.shape, dtype=str(row.dtype).removeprefix("torch.")) for row in rows
        ),
    )


def _value_name(place: int) -> str:
    return f"{place}.bin"


def _make_empty(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _mapped(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes instead of {expected}")
    # An empty map is not allowed: a value without elements has no bytes.
    if expected == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


def _opened(path: Path) -> BinaryIO | None:
    """The file open for unbuffered writing; None if only reading is allowed."""
    try:
        return path.open("r+b", buffering=0)
    except PermissionError:
        return None


def _write_rows(file: BinaryIO | None, places: NDArray[np.int64], block: NDArray[np.uint8]) -> None:
    if file is None:
        raise PermissionError("the folder of frozen features is read-only")
    for place, row in zip(places.tolist(), block, strict=True):
        file.seek(place * row.nbytes)
        written = file.write(row.tobytes())
        if written != row.nbytes:
            raise OSError(f"only {written} of {row.nbytes} bytes of a row could be written")


def _as_bytes(value: Tensor) -> NDArray[np.uint8]:
    """A value's rows as bytes."""
    rows = value.detach().cpu().contiguous()
    flat = rows.view(len(rows), -1).view(torch.uint8)
    return cast("NDArray[np.uint8]", flat.numpy())


def _checksum(parts: Iterator[NDArray[np.generic]]) -> int:
    """CRC-32 of an image's rows; never 0, which means that there is no row."""
    found = 0
    for part in parts:
        found = zlib.crc32(part.tobytes(), found)
    return found or 1
