"""Metadata does not decide whether an image can be read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from asi_core.datasets.images import check_image, decode
from asi_core.errors import Unavailable
from asi_core.units import MIB
from tests.datasets.pictures import encoded, noise

SIDE = 24
SOUND = noise(SIDE, SIDE)


def corner(orientation: int) -> Image.Image:
    """White, with a red quarter placed for a file with this orientation (6: turned right)."""
    stored = np.full((SIDE, SIDE, 3), 255, np.uint8)
    place = {1: np.s_[:12, :12], 6: np.s_[12:, :12], 3: np.s_[12:, 12:]}[orientation]
    stored[place] = (255, 0, 0)
    return Image.fromarray(stored)


def is_upright(data: bytes) -> bool:
    pixels = decode(data, "a photo", SIDE).astype(int)
    reds = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    return bool(reds[2:10, 2:10].all() and not reds[14:].any() and not reds[:, 14:].any())


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block, little-endian, of (tag, type, count, value of at most four bytes)."""
    entries = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        for tag, kind, count, value in tags
    )
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


WIDTH_AS_TEXT = (0x100, 2, 4, b"abc\0")
WRONG_OFFSET = (0x8769, 4, 1, struct.pack("<I", 2**31))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "turned",
    [
        (0x112, 3, 1, struct.pack("<H", 6)),
        (0x112, 4, 1, struct.pack("<I", 6)),  # as a long
        (0x112, 1, 1, b"\x06"),  # as a byte
        (0x112, 2, 2, b"6\0"),  # as text
        (0x112, 3, 2, struct.pack("<HH", 6, 0)),  # twice
    ],
)
def test_orientation_is_applied_beside_odd_tags(
    kind: str, turned: tuple[int, int, int, bytes]
) -> None:
    data = encoded(corner(6), kind, exif=exif(WIDTH_AS_TEXT, turned, WRONG_OFFSET), quality=95)
    assert is_upright(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"This_is_not_valid_EXIF_data", b"Exif\0\0", exif()[:-6]])
def test_a_block_that_is_no_exif_turns_nothing(kind: str, block: bytes) -> None:
    assert is_upright(encoded(corner(1), kind, exif=block, quality=95))


@pytest.mark.parametrize("value", [0, 9, 2**16 - 1])
def test_an_invalid_orientation_turns_nothing(value: int) -> None:
    block = exif((0x112, 3, 1, struct.pack("<H", value)))
    assert is_upright(encoded(corner(1), "PNG", exif=block))


def test_a_tiff_is_turned_once() -> None:
    assert is_upright(encoded(corner(6), "TIFF", exif=exif((0x112, 3, 1, struct.pack("<H", 6)))))


def large_text(compressed: bool) -> dict[str, object]:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * (2 * MIB), zip=compressed)
    return {"pnginfo": notes}


@pytest.mark.parametrize(
    "more",
    [
        {"icc_profile": np.random.default_rng(0).bytes(2 * MIB)},
        {"icc_profile": bytes(2 * MIB)},
        large_text(False),
        large_text(True),
    ],
)
def test_a_png_with_large_metadata_is_a_picture_and_turned(more: dict[str, object]) -> None:
    turned = exif((0x112, 3, 1, struct.pack("<H", 6)))
    data = encoded(corner(6), "PNG", exif=turned, **more)
    assert is_upright(data)
    check_image(data, "a photo")


def chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, length and kind of the chunks of a PNG."""
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield at, length, kind
        at += 12 + length


def annotated_png() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "text " * 9, zip=True)
    notes.add_itxt("more", "text " * 9, zip=True)
    profile = np.random.default_rng(1).bytes(90)
    return encoded(SOUND, "PNG", pnginfo=notes, icc_profile=profile, dpi=(72, 72))


PNG = annotated_png()
PNG_METADATA = [(at, n) for at, n, kind in chunks(PNG) if kind[:1].islower()]


@given(st.sampled_from(PNG_METADATA), st.data())
def test_no_byte_of_a_pngs_metadata_matters(place: tuple[int, int], data: st.DataObject) -> None:
    """With and without a correct checksum."""
    at, length = place
    content = bytearray(PNG)
    for _ in range(data.draw(st.integers(1, 4))):
        content[at + 8 + data.draw(st.integers(0, length - 1))] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        content[at + 8 + length : at + 12 + length] = struct.pack(
            ">I", zlib.crc32(content[at + 4 : at + 8 + length])
        )
    np.testing.assert_array_equal(decode(bytes(content), "a photo", SIDE), np.asarray(SOUND))


JPEG = encoded(
    SOUND, "JPEG", icc_profile=bytes(range(200)), exif=exif(WIDTH_AS_TEXT), comment=b"x" * 50
)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, length and marker of the segments of a JPEG before its first scan."""
    at = 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield at, length, data[at + 1]
        at += 2 + length


JPEG_METADATA = [(at, n) for at, n, kind in segments(JPEG) if kind in (0xE1, 0xE2, 0xFE)]
JPEG_PIXELS = decode(encoded(SOUND, "JPEG"), "a photo", SIDE)


@given(st.sampled_from(JPEG_METADATA), st.data())
def test_no_byte_of_a_jpegs_metadata_matters(place: tuple[int, int], data: st.DataObject) -> None:
    at, length = place
    content = bytearray(JPEG)
    for _ in range(data.draw(st.integers(1, 4))):
        content[at + 4 + data.draw(st.integers(0, length - 3))] ^= data.draw(st.integers(1, 255))
    np.testing.assert_array_equal(decode(bytes(content), "a photo", SIDE), JPEG_PIXELS)


@pytest.mark.parametrize("data", [PNG, JPEG])
def test_damaged_pixels_are_damaged_with_odd_metadata_too(data: bytes) -> None:
    content = bytearray(data)
    content[PNG_METADATA[0][0] + 9 if data is PNG else JPEG_METADATA[0][0] + 9] ^= 1
    with pytest.raises(Unavailable, match="is damaged"):
        decode(bytes(content[: -len(content) // 4]), "a photo", SIDE)


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255), st.integers(2, len(JPEG)))
def test_checking_and_decoding_agree(at: int, value: int, end: int) -> None:
    """A JPEG is checked at an eighth of its size, with the same result."""
    content = bytearray(JPEG)
    content[at] = value

    def message(read: object) -> str:
        try:
            read(bytes(content[:end]))  # type: ignore[operator]
        except Unavailable as error:
            return str(error)
        return ""

    assert message(lambda d: check_image(d, "x")) == message(lambda d: decode(d, "x", 8))
