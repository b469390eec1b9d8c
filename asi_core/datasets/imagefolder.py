"""Images of one's own: a folder or zip with a folder for each class."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.files import FolderFiles, ImageFiles, fingerprint
from asi_core.datasets.layout import Example, Layout, find_layout
from asi_core.datasets.splits import FileSplit, ImageData
from asi_core.datasets.zips import zip_files
from asi_core.errors import InvalidInput, Unavailable

PREFIX = "imagefolder:"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images at `path`, a folder or a zip.

    Raises:
        InvalidInput: if the path is empty.
    """

    path: str

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise InvalidInput(
                f"{PREFIX} must be followed by the path of a folder or zip",
                "none",
                f"write for example {PREFIX}photos.zip",
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
            licence="whoever gave the images knows",
        )

    def check(self) -> DatasetCard:
        _, layout = self._scan()
        return replace(
            self.card,
            classes=layout.classes,
            class_count=len(layout.classes),
            train_count=len(layout.train),
            test_count=len(layout.test),
        )

    def load(self) -> ImageData:
        source, layout = self._scan()
        return ImageData(
            layout.classes,
            _split(source, layout.train),
            _split(source, layout.test),
            fingerprint=fingerprint(example.file for example in (*layout.train, *layout.test)),
        )

    def _scan(self) -> tuple[ImageFiles, Layout]:
        source = _files(self.path)
        return source, find_layout(source.files, source.path)


def _files(text: str) -> ImageFiles:
    absent = Unavailable(
        f"no folder or zip of images is at {text!r}: check the path, as this machine sees it."
    )
    try:
        path = Path(text).expanduser().resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError, ValueError):
        # Also names that no file can have, and a ~user whom the machine does not know.
        raise absent from None
    if stat.S_ISDIR(status.st_mode):
        return FolderFiles(path)
    if stat.S_ISREG(status.st_mode):
        return zip_files(path, status.st_mtime_ns, status.st_size)
    raise absent


def _split(source: ImageFiles, examples: tuple[Example, ...]) -> FileSplit:
    labels = np.array([example.label for example in examples], np.int64)
    return FileSplit(source, [example.file for example in examples], labels)
