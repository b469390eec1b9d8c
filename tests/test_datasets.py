from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asi_core import datasets
from asi_core.datasets import DATASETS, dataset_card, load_dataset
from asi_core.errors import InvalidInput, Unavailable

CARD = DATASETS["fashion_mnist_small"]


def test_the_bundled_images_are_balanced_and_as_the_card_says() -> None:
    data = load_dataset(CARD.name)
    assert (len(data.train), len(data.test)) == (CARD.train_count, CARD.test_count)
    assert np.bincount(data.train.labels).tolist() == [500] * 10
    assert np.bincount(data.test.labels).tolist() == [100] * 10
    assert data.train.images.shape == (5000, 28, 28)
    assert data.train.images.dtype == np.uint8
    assert len(data.classes) == 10


def test_no_test_image_is_a_training_image() -> None:
    data = load_dataset(CARD.name)
    train = {image.tobytes() for image in data.train.images}
    assert not any(image.tobytes() in train for image in data.test.images)


def test_unknown_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"'nothing'.*fashion_mnist_small"):
        dataset_card("nothing")


def test_a_damaged_or_missing_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "images.npz"
    monkeypatch.setitem(datasets.DATASETS, CARD.name, replace(CARD, path=broken))
    with pytest.raises(Unavailable, match="missing"):
        load_dataset(CARD.name)
    broken.write_bytes(CARD.path.read_bytes()[:-1])
    with pytest.raises(Unavailable, match="damaged"):
        load_dataset(CARD.name)


def test_the_licence_lies_beside_the_images() -> None:
    assert "MIT" in (CARD.path.parent / "FASHION_MNIST_LICENCE.txt").read_text()
