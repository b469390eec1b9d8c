"""The preview of a data set: all classes are counted and shown with their own images."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asi_core.datasets import load_dataset
from asi_core.datasets.samples import MOST_CLASSES, sample_images
from tests.datasets.pictures import ROWS_OF_CLASSES, both_splits, picture, write_zip


def pixels(one: dict[str, Any]) -> Any:
    return np.asarray(Image.open(BytesIO(base64.b64decode(one["row"]))).convert("RGB"))


def test_each_class_is_counted_and_shown(tmp_path: Path) -> None:
    place = write_zip(tmp_path / "photos.zip", both_splits(train=8, test=2))
    found = sample_images(load_dataset(f"imagefolder:{place}"))
    assert (found["class_count"], found["train_count"], found["test_count"]) == (2, 16, 4)
    for one in found["classes"]:
        assert (one["train"], one["test"]) == (8, 2)
        row = pixels(one)
        assert row.shape == (64, 6 * 64, 3)
        assert np.unique(row.reshape(-1, 3), axis=0).tolist() == [[*ROWS_OF_CLASSES[one["name"]]]]


def test_the_bundled_images_are_shown_in_grey() -> None:
    found = sample_images(load_dataset("fashion_mnist_small"))
    assert [one["train"] for one in found["classes"]] == [500] * 10
    assert len({one["row"] for one in found["classes"]}) == 10


def test_few_images_and_many_classes(tmp_path: Path) -> None:
    contents = {
        f"{split}/{number:03}/{split}.png": picture()
        for split in ("train", "test")
        for number in range(MOST_CLASSES + 3)
    }
    found = sample_images(load_dataset(f"imagefolder:{write_zip(tmp_path / 'many.zip', contents)}"))
    assert found["class_count"] == MOST_CLASSES + 3
    assert len(found["classes"]) == MOST_CLASSES
    assert pixels(found["classes"][0]).shape == (64, 64, 3)
