"""What is known of a data set without reading it."""

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
        classes: their names, and
        class_count, train_count, test_count: numbers of classes and images; None where only
            reading tells.
        licence: the terms of the images, and whose they are.
        remarks: sentences about what is there and not used.
        damage: images that cannot be read; None where not all have been looked at.
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
        """Refuse images that are known to be damaged, unless they are left out.

        Raises:
            Unavailable: naming them.
        """
        if self.damage is not None and not skip_damaged:
            self.damage.check()

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse a batch that is larger than the training images, if their number is known.

        Raises:
            InvalidInput: naming the most there can be.
        """
        if self.train_count is not None and batch_size > self.train_count:
            raise InvalidInput(
                f"batch size must be at most {self.train_count}, the images of {self.name}",
                batch_size,
                "choose less",
            )


@runtime_checkable
class Source(Protocol):
    """Where a data set comes from. Errors are those of `check_dataset` and `load_dataset`."""

    @property
    def card(self) -> DatasetCard:
        """What is known without looking at the disk."""

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        """Look at the files as far as that is quick; the card with what was found."""

    def check_images(self) -> Iterator[int]:
        """Find out which images can be read; yields how many are left, now and then."""

    def fingerprint(self) -> str:
        """What tells the images from others, without decoding any."""

    def load(self, skip_damaged: bool = False) -> ImageData:
        """Give access to the images."""
