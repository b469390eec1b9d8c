"""Storage for values that are computed once per image: one row per image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowFormat:
    """One image's part of a value: its shape without the batch, and its type."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Tensor) -> RowFormat:
        """The format of a value whose first mode is the batch."""
        return cls(tuple(value.shape[1:]), value.dtype)

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def needed_bytes(formats: Sequence[RowFormat], count: int) -> int:
    """Bytes of the rows of `count` images."""
    return count * sum(value.row_bytes for value in formats)


class Rows(ABC):
    """Values of `count` images, filled in any order. Not thread-safe."""

    @property
    @abstractmethod
    def filled_count(self) -> int:
        """Number of images whose values are kept."""

    @abstractmethod
    def note_use(self) -> None:
        """Mark the rows as used now: the least recently used are removed first if room is short."""

    @abstractmethod
    def missing(self, indices: Tensor) -> Tensor:
        """The unique `indices` whose values are not kept."""

    @abstractmethod
    def write(self, indices: Tensor, values: Sequence[Tensor]) -> None:
        """Keep the values of some images.

        Raises:
            OSError: if they cannot be stored; earlier ones are kept.
        """

    @abstractmethod
    def read(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Values of images, none of them missing, each N x ..."""


class MemoryRows(Rows):
    """Rows in this process's memory, on the device of the values."""

    def __init__(self, formats: Sequence[RowFormat], count: int, device: torch.device) -> None:
        self._values = tuple(
            torch.empty((count, *value.shape), dtype=value.dtype, device=device)
            for value in formats
        )
        self._filled = torch.zeros(count, dtype=torch.bool)

    def note_use(self) -> None:
        """No effect: they are kept as long as the process runs."""

    @property
    def filled_count(self) -> int:
        return int(self._filled.sum())

    def missing(self, indices: Tensor) -> Tensor:
        found: Tensor = indices[~self._filled[indices]].unique()
        return found

    def write(self, indices: Tensor, values: Sequence[Tensor]) -> None:
        for rows, value in zip(self._values, values, strict=True):
            rows[indices] = value
        self._filled[indices] = True

    def read(self, indices: Tensor) -> tuple[Tensor, ...]:
        return tuple(rows[indices] for rows in self._values)
