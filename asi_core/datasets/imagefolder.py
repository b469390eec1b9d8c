"""User images: a folder or zip with one folder per class."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.checking import Damage, check_files, damage, known_damage
from asi_core.datasets.files import FolderFiles, ImageFile, ImageFiles, fingerprint
from asi_core.datasets.layout import Example, Layout, find_layout
from asi_core.datasets.splits import FileSplit, ImageData
from asi_core.datasets.zips import ZipFiles, zip_files
from asi_core.errors import InvalidInput, Unavailable

PREFIX = "imagefolder:"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images at `path`, a folder or a zip.

    Attributes:
        called: name in errors; by default the given path.

    Raises:
        InvalidInput: if the path is empty.
    """

    path: str
    called: str | None = None

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise InvalidInput(
                f"{PREFIX} must be followed by the path of a folder or zip",
                "none",
                f"for example write {PREFIX}photos.zip",
            )

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(
            name=PREFIX + self.path,
            title=f"Images in {self.path}",
            classes=None,
            class_count=None,
            train_count=None,
            test_count=None,
            licence="not stated",
        )

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        found = self._scan()
        known = known_damage(found.source, found.files)
        layout = found.without(known) if skip_damaged and known else found.layout
        return replace(
            self.card,
            classes=layout.classes,
            class_count=len(layout.classes),
            train_count=len(layout.train),
            test_count=len(layout.test),
            remarks=layout.remarks,
            damage=known,
        )

    def check_images(self) -> Iterator[int]:
        found = self._scan()
        yield from check_files(found.source, found.files)

    def fingerprint(self) -> str:
        return fingerprint(self._scan().files)

    def load(self, skip_damaged: bool = False) -> ImageData:
        found = self._scan()
        known = damage(found.source, found.files)
        if not skip_damaged:
            known.check()
        layout = found.without(known)
        return ImageData(
            layout.classes,
            _split(found.source, layout.train),
            _split(found.source, layout.test),
            fingerprint=fingerprint(example.file for example in (*layout.train, *layout.test)),
            left_out=known.damaged,
            remarks=layout.remarks,
        )

    def _scan(self) -> _Scan:
        source = _files(self.path, self.called or self.path)
        # A folder may change at any time.
        return _scan_of_zip(source) if isinstance(source, ZipFiles) else _scan_of(source)


@dataclass(frozen=True, slots=True)
class _Scan:
    """Image files and their layout.

    Attributes:
        files: the files used for training or testing.
    """

    source: ImageFiles
    layout: Layout
    files: tuple[ImageFile, ...]

    def without(self, known: Damage) -> Layout:
        """The layout without unreadable images."""
        return self.layout.without(known.names, self.source.title)


def _scan_of(source: ImageFiles) -> _Scan:
    layout = find_layout(source.files, source.title, source.others)
    used = tuple(example.file for example in (*layout.train, *layout.test))
    return _Scan(source, layout, used)


@lru_cache(maxsize=16)
def _scan_of_zip(source: ZipFiles) -> _Scan:
    return _scan_of(source)


def _files(text: str, title: str) -> ImageFiles:
    absent = Unavailable(
        f"no folder or zip of images is at {title!r}: check the path on this machine."
    )
    try:
        path = Path(text).expanduser().resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError, ValueError):
        # Also raised for invalid file names, and for a ~user unknown to this machine.
        raise absent from None
    if stat.S_ISDIR(status.st_mode):
        return FolderFiles(path, title)
    if stat.S_ISREG(status.st_mode):
        return zip_files(path, title, status.st_mtime_ns, status.st_size)
    raise absent


def _split(source: ImageFiles, examples: tuple[Example, ...]) -> FileSplit:
    labels = np.array([example.label for example in examples], np.int64)
    return FileSplit(source, [example.file for example in examples], labels)
