"""Metadata of image files: orientation, and removing what is not needed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Optional chunks that change how a PNG looks: transparency, and the EXIF block.
_KEPT_CHUNKS = (b"tRNS", b"eXIf")
# Segments that change how a JPEG is decoded or oriented: JFIF, EXIF, Adobe.
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_START_OF_SCAN = 0xDA
_ALONE = (0x01, *range(0xD0, 0xD8))

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The image turned upright by its EXIF or XMP block, if that is readable.

    Nothing is written back: Pillow's `exif_transpose` fails on invalid other tags.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def without_metadata(data: bytes) -> bytes | None:
    """A PNG or JPEG with only its pixels and what affects decoding and orientation.

    Returns:
        None if it is neither, or its structure is invalid.
    """
    try:
        if data.startswith(_PNG):
            return _PNG + b"".join(_kept_chunks(data))
        if data.startswith(_JPEG):
            return _JPEG + b"".join(_kept_segments(data))
    except (struct.error, IndexError):
        pass
    return None


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        if isinstance(value, (tuple, bytes)):
            value = value[0]
        return int(value)
    except Exception:
        # Metadata blocks may contain anything. The pixels have been decoded by now.
        return 1


def _kept_chunks(data: bytes) -> Iterator[bytes]:
    at = len(_PNG)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        chunk = data[at:end]
        is_critical = kind[:1].isupper()
        if is_critical or (kind in _KEPT_CHUNKS and _is_whole(chunk)):
            yield chunk
        at = end


def _is_whole(chunk: bytes) -> bool:
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _kept_segments(data: bytes) -> Iterator[bytes]:
    """Segments up to the first scan, after which there is no metadata; the rest is unchanged."""
    at = len(_JPEG)
    while data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        is_metadata = _APP0 <= marker <= _APP15 or marker == _COMMENT
        if not is_metadata or marker in (_APP0, _APP14) or _is_exif(data, at):
            yield data[at : at + 2 + length]
        at += 2 + length
    yield data[at:]


def _is_exif(data: bytes, at: int) -> bool:
    return data[at + 1] == _APP1 and data[at + 4 : at + 8] == b"Exif"
