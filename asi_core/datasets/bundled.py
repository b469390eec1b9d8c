"""Images bundled with the project, verified by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.splits import ArraySplit, ImageData
from asi_core.errors import Unavailable
from asi_core.settings import DATA


@dataclass(frozen=True, slots=True)
class Bundled:
    """Arrays `train_images`, `train_labels`, `test_images` and `test_labels` in one .npz file."""

    card: DatasetCard
    path: Path
    sha256: str

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        if not self.path.is_file():
            raise Unavailable(
                f"data set {self.card.name} is missing at {self.path}: restore it from the "
                "repository."
            )
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise Unavailable(
                f"{self.path} is damaged (sha256 {digest[:12]}, expected {self.sha256[:12]}): "
                "restore it from the repository."
            )
        return self.card

    def check_images(self) -> Iterator[int]:
        # The file's hash covers them.
        return iter(())

    def fingerprint(self) -> str:
        return self.card.name

    def load(self, skip_damaged: bool = False) -> ImageData:
        classes = self.check().classes
        assert classes is not None
        with np.load(self.path, allow_pickle=False) as arrays:
            train, test = _split(arrays, "train"), _split(arrays, "test")
        return ImageData(classes, train, test, fingerprint=self.sha256)


FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

BUNDLED = (
    Bundled(
        card=DatasetCard(
            name="fashion_mnist_small",
            title="Fashion-MNIST, 5 000 + 1 000",
            classes=FASHION_CLASSES,
            class_count=10,
            train_count=5000,
            test_count=1000,
            licence="Fashion-MNIST by Zalando SE, MIT",
        ),
        path=DATA / "fashion_mnist_small.npz",
        sha256="6bdb63b1b16856844509a7bb151653bdb18750f2431eddf7b25f099819a0506b",
    ),
)


def _split(arrays: Any, name: str) -> ArraySplit:
    return ArraySplit(arrays[f"{name}_images"], arrays[f"{name}_labels"].astype(np.int64))
