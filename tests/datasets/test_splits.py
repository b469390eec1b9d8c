from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asi_core.datasets import FileSplit, load_dataset
from asi_core.datasets.splits import LazySplit
from asi_core.errors import Unavailable
from tests.datasets.pictures import both_splits, encoded, noise, write_folder, write_zip


class Counted(LazySplit):
    """Images that contain their own index, and a list of the decoded ones."""

    def __init__(self, count: int) -> None:
        self.labels = np.zeros(count, np.int64)
        self.decoded: list[int] = []

    def image(self, index: int, size: int) -> NDArray[np.uint8]:
        self.decoded.append(index)
        return np.full((size, size, 3), index, np.uint8)


def test_images_come_in_the_order_asked_each_decoded_once() -> None:
    split = Counted(9)
    images = split.read(np.array([5, 2, 5, 5, 8]), 4)
    assert images.shape == (5, 4, 4, 3)
    assert images[:, 0, 0, 0].tolist() == [5, 2, 5, 5, 8]
    assert split.decoded == [2, 5, 8]


def test_no_images_are_no_images() -> None:
    assert Counted(3).read(np.array([], np.int64), 4).shape == (0, 4, 4, 3)


def varied(count: int) -> dict[str, bytes]:
    """Distinct images, so that a mix-up is detected."""
    names = [
        f"{split}/{label}/{number:03}.png"
        for split in ("train", "test")
        for label in ("cat", "dog")
        for number in range(count)
    ]
    return {name: encoded(noise(24, 24, seed)) for seed, name in enumerate(names)}


def test_folder_and_zip_give_the_same_images(tmp_path: Path) -> None:
    contents = varied(3)
    folder = load_dataset(f"imagefolder:{write_folder(tmp_path / 'photos', contents)}")
    packed = load_dataset(f"imagefolder:{write_zip(tmp_path / 'photos.zip', contents)}")
    everything = np.arange(6)
    for one, other in ((folder.train, packed.train), (folder.test, packed.test)):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.read(everything, 16), other.read(everything, 16))


def test_threads_read_one_zip_at_once(tmp_path: Path) -> None:
    name = f"imagefolder:{write_zip(tmp_path / 'photos.zip', varied(40), method=8)}"
    expected = load_dataset(name).train.read(np.arange(80), 24)
    split = load_dataset(name).train
    wrong: list[object] = []
    start = threading.Barrier(4)

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(80)
        start.wait()
        try:
            if not np.array_equal(split.read(order, 24), expected[order]):
                wrong.append(seed)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_image_is_found_when_it_is_read_and_named(packed: bool, tmp_path: Path) -> None:
    contents = both_splits(train=2)
    contents["train/dog/0.png"] = contents["train/dog/0.png"][:40]
    place = tmp_path / "photos.zip"
    place = write_zip(place, contents) if packed else write_folder(place, contents)
    with pytest.raises(Unavailable, match=r"1 of 8 images in .*'train/dog/0.png' \(damaged\)"):
        load_dataset(f"imagefolder:{place}")


def test_an_image_that_is_damaged_later_is_reported_when_it_is_read(tmp_path: Path) -> None:
    place = write_folder(tmp_path / "photos", both_splits(train=2))
    split = load_dataset(f"imagefolder:{place}").train
    assert isinstance(split, FileSplit)
    file = split.files[2]
    (place / file.name).write_bytes((place / file.name).read_bytes()[:40] + bytes(8))
    status = (place / file.name).stat()
    object.__setattr__(
        split,
        "files",
        [
            *split.files[:2],
            file._replace(size_bytes=status.st_size, stamp=status.st_mtime_ns),
            *split.files[3:],
        ],
    )
    split.read(np.array([0, 1, 3]), 8)
    with pytest.raises(Unavailable, match=r"'train/dog/0.png' in .*photos is damaged") as caught:
        split.read(np.array([0, 2]), 8)
    assert "\n" not in str(caught.value)
