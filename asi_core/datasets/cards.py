"""What is known about a data set without reading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from asi_core.datasets.checking import Damage
from asi_core.datasets.splits import ImageData
from asi_core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """Facts about a data set.

    Attributes:
        classes: class names, or None if they must be read.
        class_count, train_count, test_count: numbers of classes and images; None if they must be
            read.
        licence: the licence and authors of the images.
        remarks: sentences about files that are not used.
        damage: images that cannot be read; None if not all have been checked.
    """

    name: str
    title: str
    classes: tuple[str, ...] | None
    class_count: int | None
    train_count: int | None
    test_count: int | None
    licence: str
    remarks: tuple[str, ...] = ()
    damage: Damage | None = None

    def check_images(self, skip_damaged: bool) -> None:
        """Raise an error if images are known to be damaged, unless they are left out.

        Raises:
            Unavailable: naming them.
        """
        if self.damage is not None and not skip_damaged:
            self.damage.check()

    def check_batch_size(self, batch_size: int) -> None:
        """Check that a batch is not larger than the training set, if its size is known.

        Raises:
            InvalidInput: if it is; states the maximum.
        """
        if self.train_count is not None and batch_size > self.train_count:
            raise InvalidInput(
                f"batch size must be at most {self.train_count}, the training images of "
                f"{self.name}",
                batch_size,
                "choose less",
            )


@runtime_checkable
class Source(Protocol):
    """Where a data set comes from. Errors are those of `check_dataset` and `load_dataset`."""

    @property
    def card(self) -> DatasetCard:
        """The facts known without reading from disk."""

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        """Check the files as far as is quick; returns the card with the results."""

    def check_images(self) -> Iterator[int]:
        """Find out which images can be read; yields the number left, at intervals."""

    def fingerprint(self) -> str:
        """A key for the images, computed without decoding any."""

    def load(self, skip_damaged: bool = False) -> ImageData:
        """Open the images."""
