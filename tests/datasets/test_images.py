from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from asi_core.datasets import limits
from asi_core.datasets.formats import FORMATS
from asi_core.datasets.images import check_image, decode, square
from asi_core.errors import InvalidInput, Unavailable
from tests.datasets.pictures import encoded, noise, picture

LOSSY = ("JPEG", "WEBP", "AVIF", "HEIF", "JPEG2000", "GIF")


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_read_whatever_the_name(kind: str) -> None:
    pixels = decode(picture((10, 200, 30), (20, 10), kind), "an image.jpg", 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - (10, 200, 30)).max() <= (4 if kind in LOSSY else 0)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_pictures_in_a_file_the_first_is_read(kind: str) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    data = encoded(first, kind, save_all=True, append_images=[second])
    assert np.abs(decode(data, "an image", 8).astype(int) - (255, 0, 0)).max() <= 4


def test_an_image_of_the_requested_size_is_left_alone() -> None:
    image = noise(12, 12)
    np.testing.assert_array_equal(square(image, 12), np.asarray(image))


@pytest.mark.parametrize(("width", "height"), [(120, 60), (60, 120)])
def test_the_shorter_side_is_resized_and_the_centre_cropped(width: int, height: int) -> None:
    image = noise(width, height)
    resized = image.resize((width // 2, height // 2), Image.Resampling.BILINEAR)
    left, top = (resized.width - 30) // 2, (resized.height - 30) // 2
    expected = resized.crop((left, top, left + 30, top + 30))
    # Pillow rounds between its two passes, whose order depends on the requested size.
    np.testing.assert_allclose(square(image, 30).astype(int), np.asarray(expected, int), atol=1)


# Where the red corner, top left in the upright image, is stored under each orientation.
@pytest.mark.parametrize(
    ("orientation", "row", "column"),
    [
        (1, 0, 0),
        (2, 0, -1),
        (3, -1, -1),
        (4, -1, 0),
        (5, 0, 0),
        (6, -1, 0),
        (7, -1, -1),
        (8, 0, -1),
    ],
)
def test_cameras_held_otherwise_are_turned_upright(orientation: int, row: int, column: int) -> None:
    stored = np.zeros((16, 16, 3), np.uint8)
    stored.reshape(2, 8, 2, 8, 3)[row, :, column] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode(encoded(Image.fromarray(stored), "PNG", exif=exif), "a photo", 16)
    reds = upright[..., 0] > 128
    assert reds[:8, :8].all()
    assert reds.sum() == 64


def test_grey_of_sixteen_bits_is_scaled_not_clipped() -> None:
    levels = np.repeat(np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16), 4, axis=0)
    pixels = decode(encoded(Image.fromarray(levels)), "a scan", 4)
    assert pixels[0, :, 0].tolist() == [0, 0x40, 0x80, 0xFF]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_modes_become_colours(mode: str) -> None:
    image = Image.new("RGB", (6, 6), (255, 255, 255)).convert(mode)
    assert (decode(encoded(image), "an image", 6) == 255).all()


@pytest.mark.parametrize("cut", [0, 4, 30, 200])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_truncated_image_is_reported_by_its_name(cut: int, kind: str) -> None:
    data = encoded(noise(32, 32), kind)
    assert cut < len(data)
    with pytest.raises(Unavailable, match=r"^'cat/1.jpg' is damaged"):
        decode(data[:cut], "'cat/1.jpg'", 16)
    with pytest.raises(Unavailable, match=r"^'cat/1.jpg' is damaged"):
        check_image(data[:cut], "'cat/1.jpg'")


def test_other_formats_are_not_tried() -> None:
    for kind in ("ICO", "PCX", "TGA"):
        with pytest.raises(Unavailable, match=r"not a supported image format \(JPEG, PNG"):
            decode(picture(kind=kind, size=(16, 16)), "'cat/1.jpg'", 16)


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = picture(size=(40, 30))
    monkeypatch.setattr(limits, "MOST_PIXELS", 40 * 30)
    decode(data, "an image", 8)
    monkeypatch.setattr(limits, "MOST_PIXELS", 40 * 30 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(InvalidInput, match="at most 1199 pixels, got 40 x 30 in an image"):
        decode(data, "an image", 8)


@pytest.mark.parametrize("own_limit", [500, 1000])
def test_pillows_own_refusal_is_reported_alike(
    own_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above its limit Pillow warns, which may be an error here; above twice the limit it raises."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own_limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidInput, match="must have at most"):
            decode(picture(size=(40, 30)), "an image", 8)


def test_our_limit_is_below_that_of_pillow() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert limits.MOST_PIXELS < Image.MAX_IMAGE_PIXELS


def test_a_long_thin_image_is_not_blown_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resized as a whole, an image of 1 x 100 000 pixels would become 512 x 51 million."""
    asked: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, size: tuple[int, int], *args: object, **more: object) -> object:
        asked.append(size)
        return resize(self, size, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert decode(picture(size=(100_000, 1)), "a line", 512).shape == (512, 512, 3)
    assert asked == [(512, 512)]
