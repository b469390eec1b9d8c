"""Images to fine-tune on: what is known of each data set, and reading it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import PROJECT


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """Facts about a data set, known without reading it."""

    name: str
    title: str
    path: Path
    sha256: str
    classes: tuple[str, ...]
    train_count: int
    test_count: int
    licence: str


@dataclass(frozen=True, slots=True)
class Split:
    """Images (N x height x width, grey, or N x height x width x 3, uint8) and labels (N)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set in memory; `fingerprint` tells two contents apart."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    fingerprint: str


DATASETS: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        DatasetCard(
            name="fashion_mnist_small",
            title="Fashion-MNIST, 5 000 + 1 000",
            path=PROJECT / "data" / "fashion_mnist_small.npz",
            sha256="6bdb63b1b16856844509a7bb151653bdb18750f2431eddf7b25f099819a0506b",
            classes=(
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
            ),
            train_count=5000,
            test_count=1000,
            licence="Fashion-MNIST by Zalando SE, MIT",
        ),
    )
}


def dataset_card(name: str) -> DatasetCard:
    """The card of `name`.

    Raises:
        InvalidInput: if there is no such data set.
    """
    if name not in DATASETS:
        raise InvalidInput(
            "dataset must be a known one", repr(name), f"choose {', '.join(DATASETS)}"
        )
    return DATASETS[name]


def load_dataset(name: str) -> ImageData:
    """Read a data set and check that it is the one that was meant.

    Raises:
        InvalidInput: if there is no such data set.
        Unavailable: if its file is missing or its content differs.
    """
    card = dataset_card(name)
    if not card.path.is_file():
        raise Unavailable(
            f"data set {name} is missing at {card.path}: restore it from the repository."
        )
    digest = hashlib.sha256(card.path.read_bytes()).hexdigest()
    if digest != card.sha256:
        raise Unavailable(
            f"{card.path} is damaged (sha256 {digest[:12]}, expected {card.sha256[:12]}): "
            "restore it from the repository."
        )
    with np.load(card.path, allow_pickle=False) as arrays:
        return ImageData(
            card.classes, _split(arrays, "train"), _split(arrays, "test"), fingerprint=digest
        )


def _split(arrays: Any, name: str) -> Split:
    return Split(arrays[f"{name}_images"], arrays[f"{name}_labels"].astype(np.int64))
