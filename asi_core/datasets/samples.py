"""A preview of a data set: its classes, their numbers of images, and a few images."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asi_core.datasets.images import square
from asi_core.datasets.splits import ImageData, Split

MOST_CLASSES = 24
_IN_A_ROW, _SIDE = 6, 64


def sample_images(data: ImageData) -> dict[str, Any]:
    """The preview of a data set, for JSON.

    Returns:
        `class_count`, `train_count`, `test_count`, and `classes`: for each of the first
        `MOST_CLASSES` its `name`, `train` and `test` counts, and `row`, some of its training images
        side by side, `_SIDE` pixels high, as PNG in base64.

    Raises:
        AsiError: if an image cannot be read.
    """
    count = len(data.classes)
    trained, tested = (
        np.bincount(split.labels, minlength=count) for split in (data.train, data.test)
    )
    return {
        "class_count": count,
        "train_count": len(data.train),
        "test_count": len(data.test),
        "classes": [
            {
                "name": name,
                "train": int(trained[label]),
                "test": int(tested[label]),
                "row": _row(data.train, label),
            }
            for label, name in enumerate(data.classes[:MOST_CLASSES])
        ],
    }


def _row(split: Split, label: int) -> str:
    members = np.flatnonzero(split.labels == label)
    # Spread over the whole class: neighbours are often alike.
    spread = members[np.linspace(0, len(members) - 1, min(len(members), _IN_A_ROW)).astype(int)]
    tiles = [square(Image.fromarray(pixels), _SIDE) for pixels in split.read(spread, _SIDE)]
    return _png(np.concatenate(tiles, axis=1))


def _png(pixels: NDArray[np.uint8]) -> str:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
