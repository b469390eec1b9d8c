"""Decoding an image file to a square of pixels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from asi_core.datasets import limits
from asi_core.datasets.formats import FORMATS, NAMES
from asi_core.datasets.metadata import upright, without_metadata
from asi_core.datasets.pixels import colours, on_ground
from asi_core.errors import InvalidInput, Unavailable

Result = TypeVar("Result")

# Pixel limit for images checked in parallel: four of the largest at once would take a GiB.
_MANY_PIXELS = 2**23
_ONE_LARGE = threading.Lock()


def decode(data: bytes, what: str, size: int) -> NDArray[np.uint8]:
    """The centre square of an image file.

    Args:
        what: the image's name, for errors.

    Returns:
        size x size x 3.

    Raises:
        InvalidInput: if the image has more pixels than the limit.
        Unavailable: if the file is damaged or is not an image.
    """
    return _with_pixels(data, what, lambda image: square(image, size))


def check_image(data: bytes, what: str) -> None:
    """Decode as much of an image file as is needed to know whether `decode` can read it.

    Raises:
        As `decode`.
    """
    _with_pixels(data, what, _read_through)


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Turn an image upright, resize its shorter side to `size` and crop the centre.

    Transparent parts become white, or black if the image itself is nearly white.

    Returns:
        size x size x 3.
    """
    shown = colours(upright(image))
    width, height = shown.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # Crop before resizing: an image of one by millions of pixels would not fit in memory.
    box = (left, top, left + side, top + side)
    pixels = np.asarray(shown.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return on_ground(pixels) if shown.mode == "RGBA" else pixels


def _read_through(image: Image.Image) -> None:
    large = image.width * image.height > _MANY_PIXELS
    with _ONE_LARGE if large else nullcontext():
        # The whole JPEG is read, but decoded at an eighth of its size.
        image.draft(None, (max(image.width // 8, 1), max(image.height // 8, 1)))
        colours(upright(image))


def _with_pixels(data: bytes, what: str, read: Callable[[Image.Image], Result]) -> Result:
    """`read` of the opened image; if that fails, once more without metadata."""
    try:
        return _opened(data, what, read)
    except Unavailable:
        bare = without_metadata(data)
        if bare is None or len(bare) == len(data):
            raise
        return _opened(bare, what, read)


def _opened(data: bytes, what: str, read: Callable[[Image.Image], Result]) -> Result:
    with _message(what), Image.open(BytesIO(data), formats=tuple(FORMATS)) as image:
        _check_pixels(image, what)
        return read(_with_raw_alpha(image, data))


@contextmanager
def _message(what: str) -> Iterator[None]:
    """Convert decoder errors to this package's errors."""
    try:
        yield
    except InvalidInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(what, "more") from error
    except Exception as error:
        # Damaged files make decoders raise almost anything.
        raise Unavailable(
            f"{what} is damaged, or not a supported image format ({NAMES}): replace or remove it."
        ) from error


def _with_raw_alpha(image: Image.Image, data: bytes) -> Image.Image:
    """A 32-bit bitmap with its fourth channel, which Pillow ignores.

    The format calls it unused; most programs write transparency there, or nothing.
    """
    if not isinstance(image, BmpImageFile) or image.info.get("compression") != 0 or not image.tile:
        return image
    _, _, start, how = image.tile[0]
    if not isinstance(how, tuple) or how[0] != "BGRX":
        return image
    _, stride, direction = how
    rows = np.frombuffer(data, np.uint8, stride * image.height, start)
    alpha = rows.reshape(image.height, stride)[::direction, 3 : 4 * image.width : 4]
    image.load()
    image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return image


def _check_pixels(image: Image.Image, what: str) -> None:
    """Check the size in the header, before decoding."""
    if image.width * image.height > limits.MOST_PIXELS:
        raise _too_many_pixels(what, f"{image.width} x {image.height}")


def _too_many_pixels(what: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"an image must have at most {limits.MOST_PIXELS} pixels",
        f"{got} in {what}",
        "make it smaller or remove it",
    )
