"""From the bytes of an image file to a square of pixels."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from asi_core.datasets import limits
from asi_core.errors import InvalidInput, Unavailable

# Whatever a file's name says, no other decoder of Pillow is tried on it.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")


def decode(data: bytes, what: str, size: int) -> NDArray[np.uint8]:
    """The centre square of an image file.

    Args:
        what: the image's name, for errors.

    Returns:
        size x size x 3.

    Raises:
        InvalidInput: if the image has more pixels than are decoded here.
        Unavailable: if the file is damaged or holds no image.
    """
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image, what)
            return square(image, size)
    except InvalidInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(what, "more") from error
    except Exception as error:
        # The boundary to the decoders: damaged files make them raise nearly anything.
        raise Unavailable(
            f"{what} is damaged, or is no JPEG, PNG, BMP or WebP image: replace or remove it."
        ) from error


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Turn an image upright, resize its shorter side to `size` and crop around the centre.

    Returns:
        size x size x 3.
    """
    upright = _rgb(ImageOps.exif_transpose(image))
    width, height = upright.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # Only the square is resized: the whole of an image of one pixel times millions would not fit.
    box = (left, top, left + side, top + side)
    return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Grey of 16 bits, which Pillow would clip at 255 instead of scaling.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _check_pixels(image: Image.Image, what: str) -> None:
    """Opening has read the header only; decoding comes later."""
    if image.width * image.height > limits.MOST_PIXELS:
        raise _too_many_pixels(what, f"{image.width} x {image.height}")


def _too_many_pixels(what: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"an image must have at most {limits.MOST_PIXELS} pixels",
        f"{got} in {what}",
        "make it smaller or remove it",
    )
