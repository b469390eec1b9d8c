"""Converting pixel values of any type to 8-bit colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Value ranges of scanners, cameras and medical devices: the smallest that contains a picture's
# maximum is assumed.
_RANGES = (255, 4095, 65535)
_FLOAT_RANGES = (1, *_RANGES)

# Transparent parts become white, as on paper. They become black if the image is brighter on average
# than this share of white, because it would not be visible.
_BRIGHT = 2 / 3
_WHITE, _BLACK = 255, 0


def colours(image: Image.Image) -> Image.Image:
    """The image as RGB; as RGBA if a part of it, but not all, is transparent."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(grey_levels(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    lowest, highest = clear.getchannel("A").getextrema()
    # If nothing is visible, the fourth channel is not an alpha channel.
    return clear.convert("RGB") if lowest == 255 or highest == 0 else clear


def on_ground(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA (height x width x 4) on a contrasting background: height x width x 3."""
    ink, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3:].astype(np.float32) / 255
    visible = float(alpha.sum())
    brightness = float((_luminance(ink) * alpha[..., 0]).sum()) / visible if visible else 0.0
    ground = _BLACK if brightness > _BRIGHT * _WHITE else _WHITE
    return np.rint(ink * alpha + ground * (1 - alpha)).astype(np.uint8)


def grey_levels(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits as levels of 0 to 255, with their contrast.

    Integers are divided by 1, 16 or 256: the first that brings the maximum below 256. Fractions are
    scaled from 0 to 1, 255, 4095 or 65535, the first that contains them. If a number is negative or
    above all these ranges, from the minimum to the maximum.

    Args:
        numbers: height x width, of any type; values that are not finite count as the minimum.
    """
    finite: NDArray[Any] = numbers if numbers.dtype.kind in "iu" else _finite(numbers)
    least, largest = float(finite.min()), float(finite.max())
    if least < 0 or largest > _RANGES[-1]:
        span = (largest - least) or 1.0
        return ((finite.astype(np.float64) - least) * (255 / span)).astype(np.uint8)
    if finite.dtype.kind in "iu":
        bits = next(most for most in _RANGES if largest <= most).bit_length()
        return (finite >> (bits - 8)).astype(np.uint8)
    most = next(most for most in _FLOAT_RANGES if largest <= most)
    return np.rint(finite * (255 / most)).astype(np.uint8)


def _finite(numbers: NDArray[Any]) -> NDArray[np.float64]:
    values = numbers.astype(np.float64)
    known = np.isfinite(values)
    return np.where(known, values, values[known].min() if known.any() else 0.0)


def _luminance(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luminance by ITU-R BT.601, as in Pillow's conversion to grey."""
    return ink @ np.array([0.299, 0.587, 0.114], np.float32)
