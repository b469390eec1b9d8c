"""Small pictures of a layer's input, as stored in events: one byte per value."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

_LEVELS = 255
# Maximum length of a picture's longer side, in values; also the number of features for tokens.
LONGEST_SIDE = 24


class PackedValues(BaseModel):
    """Numbers between `low` and `high` in 256 levels, as base64."""

    model_config = ConfigDict(frozen=True)

    low: float
    high: float
    data: str

    def unpacked(self) -> list[float]:
        """The numbers, each off by at most half a level."""
        level = (self.high - self.low) / _LEVELS
        return [self.low + level * byte for byte in base64.b64decode(self.data)]


class LayerPictures(BaseModel):
    """Slices of the input of a batch's first image, before and after the method.

    Attributes:
        channels: the channels (features) of highest energy, in descending order.
        size: height and width of each picture, in values. For a layer whose tokens form no square
            there is one picture, with tokens as rows and `channels` as columns.
        before: of the input; all pictures one after the other, row by row.
        after: of the input rebuilt from what the method keeps; None for a method that keeps the
            input itself or from which it cannot be rebuilt.
    """

    model_config = ConfigDict(frozen=True)

    channels: tuple[int, ...]
    size: tuple[int, int]
    before: PackedValues
    after: PackedValues | None = None

    @property
    def is_tokens(self) -> bool:
        """Whether this is one picture of tokens x features."""
        count = len(base64.b64decode(self.before.data)) // (self.size[0] * self.size[1])
        return count < len(self.channels)

    def tiles(self, packed: PackedValues) -> list[list[list[float]]]:
        """`before` or `after` as pictures of rows of values."""
        height, width = self.size
        values = packed.unpacked()
        rows = [values[i : i + width] for i in range(0, len(values), width)]
        return [rows[i : i + height] for i in range(0, len(rows), height)]


def pack(values: Sequence[float]) -> PackedValues:
    """Pack `values`, at least one and all finite, into bytes."""
    low, high = min(values), max(values)
    scale = _LEVELS / (high - low) if high > low else 0.0
    data = bytes(round((value - low) * scale) for value in values)
    return PackedValues(low=low, high=high, data=base64.b64encode(data).decode())
