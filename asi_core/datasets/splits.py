"""Images and labels, in memory or decoded on access."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asi_core.datasets.checking import Damaged
from asi_core.datasets.files import ImageFile, ImageFiles
from asi_core.datasets.images import decode


class Split(ABC):
    """Images with labels (N); thread-safe for reading."""

    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, indices: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """The images `indices` (N): N x height x width (grey) or N x height x width x 3.

        Args:
            size: requested side, pixels; images in memory keep their stored size.

        Raises:
            InvalidInput: if an image is too large to be decoded.
            Unavailable: if an image cannot be read, naming it.
        """


@dataclass(frozen=True, slots=True)
class ArraySplit(Split):
    """Images in memory: N x height x width, grey, or N x height x width x 3."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def read(self, indices: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        return self.images[indices]


class LazySplit(Split):
    """Images that are decoded on access: N x size x size x 3."""

    def read(self, indices: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        # A chunk of frozen features is padded with its last image, which is decoded only once.
        distinct, places = np.unique(indices, return_inverse=True)
        images = np.empty((len(distinct), size, size, 3), np.uint8)
        for place, index in enumerate(distinct):
            images[place] = self.image(int(index), size)
        return images[places]

    @abstractmethod
    def image(self, index: int, size: int) -> NDArray[np.uint8]:
        """One image, size x size x 3."""


@dataclass(frozen=True, slots=True)
class FileSplit(LazySplit):
    """Images in files of a folder or zip, and their labels (N)."""

    source: ImageFiles
    files: Sequence[ImageFile]
    labels: NDArray[np.int64]

    def image(self, index: int, size: int) -> NDArray[np.uint8]:
        file = self.files[index]
        return decode(self.source.read(file), f"{file.name!r} in {self.source.title}", size)


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set.

    Attributes:
        fingerprint: a key for the content.
        left_out: unreadable images, which are in no split.
        remarks: sentences about files that are not used.
    """

    classes: tuple[str, ...]
    train: Split
    test: Split
    fingerprint: str
    left_out: tuple[Damaged, ...] = ()
    remarks: tuple[str, ...] = ()
