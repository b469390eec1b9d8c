from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asi_core import datasets
from asi_core.datasets import DATASETS, ArraySplit, check_dataset, load_dataset
from asi_core.datasets.bundled import BUNDLED
from asi_core.errors import Unavailable

SOURCE = BUNDLED[0]
CARD = DATASETS["fashion_mnist_small"]


def splits() -> tuple[ArraySplit, ArraySplit]:
    data = load_dataset(CARD.name)
    assert isinstance(data.train, ArraySplit)
    assert isinstance(data.test, ArraySplit)
    return data.train, data.test


def test_the_bundled_images_are_balanced_and_as_the_card_says() -> None:
    train, test = splits()
    assert (len(train), len(test)) == (CARD.train_count, CARD.test_count)
    assert np.bincount(train.labels).tolist() == [500] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert train.images.shape == (5000, 28, 28)
    assert train.images.dtype == np.uint8
    assert load_dataset(CARD.name).classes == CARD.classes


def test_no_test_image_is_a_training_image() -> None:
    train, test = splits()
    known = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in known for image in test.images)


def test_images_come_as_they_are_stored() -> None:
    train, _ = splits()
    indices = np.array([7, 0, 7])
    np.testing.assert_array_equal(train.read(indices, 96), train.images[[7, 0, 7]])


def test_a_damaged_or_missing_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "images.npz"
    monkeypatch.setitem(datasets._NAMED._entries, CARD.name, replace(SOURCE, path=broken))
    for probe in (check_dataset, load_dataset):
        broken.unlink(missing_ok=True)
        with pytest.raises(Unavailable, match="missing"):
            probe(CARD.name)
        broken.write_bytes(SOURCE.path.read_bytes()[:-1])
        with pytest.raises(Unavailable, match="damaged"):
            probe(CARD.name)


def test_the_licence_lies_beside_the_images() -> None:
    assert "MIT" in (SOURCE.path.parent / "FASHION_MNIST_LICENCE.txt").read_text()
