"""Where values that are computed once an image are kept: one row an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowFormat:
    """One image's share of a value: its shape without the batch, and its type."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Tensor) -> RowFormat:
        """Of a value whose first size is the batch."""
        return cls(tuple(value.shape[1:]), value.dtype)

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def needed_bytes(formats: Sequence[RowFormat], count: int) -> int:
    """Bytes of `count` images' rows."""
    return count * sum(value.row_bytes for value in formats)


class Rows(ABC):
    """Values of `count` images, filled in any order. Not for several threads at once."""

    @property
    @abstractmethod
    def filled_count(self) -> int:
        """Images whose values are kept."""

    @abstractmethod
    def note_use(self) -> None:
        """Say that they are wanted now: what is not goes first where room is short."""

    @abstractmethod
    def missing(self, indices: Tensor) -> Tensor:
        """Those of `indices`, each once, whose values are not kept."""

    @abstractmethod
    def write(self, indices: Tensor, values: Sequence[Tensor]) -> None:
        """Keep the values of some images.

        Raises:
            OSError: if they cannot be kept; earlier ones still are.
        """

    @abstractmethod
    def read(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Values of images of which none is missing, each N x ..."""


class MemoryRows(Rows):
    """Rows in the memory of this process, on the device of the values."""

    def __init__(self, formats: Sequence[RowFormat], count: int, device: torch.device) -> None:
        self._values = tuple(
            torch.empty((count, *value.shape), dtype=value.dtype, device=device)
            for value in formats
        )
        self._filled = torch.zeros(count, dtype=torch.bool)

    def note_use(self) -> None:
        """Nothing: they stay as long as their process."""

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
