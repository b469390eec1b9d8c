"""Small images, and folders and zips with them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROWS_OF_CLASSES = {"cat": (200, 0, 0), "dog": (0, 0, 200)}


def picture(
    colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 8), kind: str = "PNG"
) -> bytes:
    """An image file of one colour; `size` is width x height."""
    return encoded(Image.new("RGB", size, colour), kind)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def both_splits(train: int = 3, test: int = 2, below: str = "") -> dict[str, bytes]:
    """Names and contents of train/<class>/ and test/<class>/ with this many images per class."""
    return {
        f"{below}{split}/{name}/{number}.png": picture(colour)
        for split, count in (("train", train), ("test", test))
        for name, colour in ROWS_OF_CLASSES.items()
        for number in range(count)
    }


def write_folder(root: Path, contents: Mapping[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, contents: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path.write_bytes(zip_bytes(contents, method))
    return path


def zip_bytes(contents: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members; its bytes do not depend on the time."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()
