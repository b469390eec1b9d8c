"""Transparency and deep grey: what is visible in a file is visible in its square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from asi_core.datasets.images import decode
from asi_core.datasets.pixels import grey_levels, on_ground
from tests.datasets.pictures import encoded, noise

SIDE = 24
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "yellow": (255, 255, 0),
    "red": (255, 0, 0),
    "light": (225, 225, 225),
}


def drawn(ink: tuple[int, int, int], ground: int = 0) -> Image.Image:
    """A square of ink in the middle, transparent around, with the hidden colour `ground`."""
    image = Image.new("RGBA", (SIDE, SIDE), (ground, ground, ground, 0))
    image.paste((*ink, 255), (6, 6, 18, 18))
    return image


def seen(data: bytes) -> NDArray[np.int64]:
    return decode(data, "a drawing", SIDE).astype(np.int64)


def contrast(data: bytes) -> int:
    """Contrast between middle and ground, in the channel in which they differ most."""
    pixels = seen(data)
    return int(np.abs(pixels[12, 12] - pixels[1, 1]).max())


def files(image: Image.Image) -> dict[str, bytes]:
    """One drawing in all kinds of transparent files."""
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    found = {
        "PNG": encoded(image, "PNG"),
        "WebP": encoded(image, "WEBP", lossless=True, exact=True),
        "BMP of 32 bits": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF"),
        "GIF": encoded(image, "GIF"),
        "PNG with a palette": encoded(image.quantize(8), "PNG"),
    }
    assert palette.mode == "P"
    grey = image.convert("RGB").convert("L")
    if np.ptp(np.asarray(image)[..., :3], axis=2).max() == 0:
        found["LA"] = encoded(image.convert("LA"), "PNG")
        hidden = 7
        keyed = Image.fromarray(
            np.where(np.asarray(image)[..., 3] == 0, hidden, np.asarray(grey)).astype(np.uint8)
        )
        found["grey with a colour that is transparent"] = encoded(keyed, "PNG", transparency=hidden)
    return found


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("name", COLOURS)
def test_ink_and_ground_stay_apart(name: str, ground: int) -> None:
    """For any hidden colour under the ground."""
    for title, data in files(drawn(COLOURS[name], ground)).items():
        assert contrast(data) > 120, title


def test_the_hidden_colour_changes_nothing() -> None:
    """GIF and palettes have none."""
    for black, white in zip(
        *(files(drawn(COLOURS["red"], g)).values() for g in (0, 255)), strict=True
    ):
        np.testing.assert_array_equal(seen(black), seen(white))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_an_image_that_is_opaque_is_what_it_was(kind: str) -> None:
    image = noise(SIDE, SIDE)
    opaque = image.copy()
    opaque.putalpha(255)
    for size in (SIDE, 7, 40):
        np.testing.assert_array_equal(
            decode(encoded(opaque, kind), "x", size), decode(encoded(image, kind), "x", size)
        )


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_of_an_image_that_is_transparent_everywhere_the_colours_are_seen(kind: str) -> None:
    """Its fourth channel is not alpha: many bitmaps have zeros there."""
    image = noise(SIDE, SIDE)
    clear = image.copy()
    clear.putalpha(0)
    np.testing.assert_array_equal(seen(encoded(clear, kind)), np.asarray(image))


def test_a_bitmap_of_32_bits_is_read_from_both_ends() -> None:
    """Bitmaps are stored from the bottom, or from the top with a negative height."""
    image = drawn(COLOURS["black"])
    image.paste((0, 0, 0, 255), (0, 0, SIDE, 6))
    data = bytearray(encoded(image, "BMP"))
    upward = seen(bytes(data))
    assert upward[0].max() == 0
    assert upward[-1].min() == 255
    rows = np.frombuffer(bytes(data[54:]), np.uint8).reshape(SIDE, -1)[::-1]
    data[22:26] = (2**32 - SIDE).to_bytes(4, "little")
    data[54:] = rows.tobytes()
    np.testing.assert_array_equal(seen(bytes(data)), upward)


@given(st.integers(0, 2**32 - 1))
def test_composition_is_the_usual_one(seed: int) -> None:
    """Compared with Pillow's own, on the chosen ground."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 4), np.uint8)
    got = on_ground(pixels).astype(int)
    image = Image.fromarray(pixels)
    grounds = [Image.new("RGBA", image.size, (level,) * 3 + (255,)) for level in (0, 255)]
    expected = [
        np.asarray(Image.alpha_composite(ground, image))[..., :3].astype(int) for ground in grounds
    ]
    assert min(np.abs(got - other).max() for other in expected) <= 1


RANGES = {8: 255, 12: 4095, 16: 65535}


@pytest.mark.parametrize("bits", RANGES)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_keeps_its_contrast(bits: int, kind: str) -> None:
    ramp = np.tile(np.linspace(0, RANGES[bits], SIDE).astype(np.uint16), (SIDE, 1))
    pixels = seen(encoded(Image.fromarray(ramp), kind))
    np.testing.assert_array_equal(pixels[..., 0], ramp >> (bits - 8))


@pytest.mark.parametrize("dtype", [">u2", "<u2", "<i4"])
def test_deep_grey_of_any_type_is_the_same(dtype: str) -> None:
    ramp = np.tile(np.linspace(0, 4095, SIDE), (SIDE, 1))
    image = Image.fromarray(ramp.astype(dtype))
    np.testing.assert_array_equal(seen(encoded(image, "TIFF"))[..., 0], ramp.astype(np.uint16) >> 4)


@pytest.mark.parametrize("most", [1, 255, 4095, 65535])
def test_fractions_are_scaled_from_the_range_that_holds_them(most: int) -> None:
    ramp = np.tile(np.linspace(0, most, SIDE, dtype=np.float32), (SIDE, 1))
    got = seen(encoded(Image.fromarray(ramp), "TIFF"))[..., 0]
    assert np.abs(got - ramp * 255 / most).max() <= 0.51


@pytest.mark.parametrize(
    "numbers", [[-1024, 0, 3071], [0, 70_000, 1_000_000], [-1e30, 0.0, 1e30], [-5, -5, -5]]
)
def test_what_is_in_no_range_is_stretched(numbers: list[float]) -> None:
    levels = grey_levels(np.array([numbers])).astype(int)[0]
    least, span = min(numbers), (max(numbers) - min(numbers)) or 1
    assert np.abs(levels - [255 * (n - least) / span for n in numbers]).max() <= 1


def test_what_is_no_number_counts_as_the_least() -> None:
    levels = grey_levels(np.array([[np.nan, 0.25, np.inf, 1.0, -np.inf]]))
    assert levels.tolist() == [[64, 64, 64, 255, 64]]
    assert grey_levels(np.full((1, 2), np.nan)).tolist() == [[0, 0]]
