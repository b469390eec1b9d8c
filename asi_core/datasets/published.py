"""Published data sets, read and downloaded by torchvision, which is imported when one is loaded."""

from __future__ import annotations

import hashlib
import tarfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asi_core.datasets.bundled import FASHION_CLASSES
from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.imagefolder import PREFIX
from asi_core.datasets.images import square
from asi_core.datasets.splits import ImageData, LazySplit
from asi_core.errors import Unavailable, one_sentence
from asi_core.settings import read_settings

# Errors of downloading, unpacking and parsing; URLError is an OSError.
_FAILURES = (
    EOFError,
    HTTPException,
    ImportError,
    OSError,
    RuntimeError,
    ValueError,
    tarfile.TarError,
    zlib.error,
)
_LOADING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Published:
    """A data set of `torchvision.datasets`, kept in the folder `datasets` of `ASI_HOME`.

    Attributes:
        factory: the torchvision class that reads it.
        train, test: name and value of the argument that selects the split.
        labels: the attribute with a split's labels, so that no image is decoded for them.
        archives: files below the folder that torchvision unpacks instead of downloading.
    """

    card: DatasetCard
    factory: str
    train: tuple[str, str | bool]
    test: tuple[str, str | bool]
    labels: str
    archives: tuple[str, ...]

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        # Only torchvision can check the files, and the worker downloads them.
        return self.card

    def check_images(self) -> Iterator[int]:
        # The hashes of the downloads cover them.
        return iter(())

    def fingerprint(self) -> str:
        return self.card.name

    def load(self, skip_damaged: bool = False) -> ImageData:
        # Two threads must not download into one folder, nor hold the same images twice.
        with _LOADING:
            return _load(self, read_settings().home / "datasets")


@dataclass(frozen=True, slots=True)
class TorchvisionSplit(LazySplit):
    """A torchvision data set that returns PIL images, and its labels (N)."""

    dataset: Any
    labels: NDArray[np.int64]
    name: str
    folder: Path

    def image(self, index: int, size: int) -> NDArray[np.uint8]:
        try:
            return square(self.dataset[index][0], size)
        except Exception as error:
            # Damaged files make decoders raise almost anything.
            raise Unavailable(
                f"image {index} of data set {self.name} in {self.folder} is missing or damaged: "
                "remove its unpacked files, so that it is unpacked again."
            ) from error


@lru_cache(maxsize=2)
def _load(source: Published, folder: Path) -> ImageData:
    card = source.card
    try:
        train, test = (_split(source, chosen, folder) for chosen in (source.train, source.test))
    except _FAILURES as error:
        raise Unavailable(
            f"data set {card.name} is incomplete in {folder} and could not be downloaded "
            f"({one_sentence(error).rstrip('.')}): connect to the network, or replace its files "
            f"there by {' and '.join(source.archives)}, or choose "
            f"{PREFIX}PATH."
        ) from error
    assert card.class_count is not None
    # Older versions of torchvision do not support all sets.
    names = getattr(train.dataset, "classes", range(1, card.class_count + 1))
    digest = hashlib.sha256(card.name.encode() + train.labels.tobytes() + test.labels.tobytes())
    return ImageData(tuple(map(str, names)), train, test, fingerprint=digest.hexdigest())


def _split(source: Published, chosen: tuple[str, str | bool], folder: Path) -> TorchvisionSplit:
    factory = getattr(import_module("torchvision.datasets"), source.factory)
    # Before it downloads, torchvision checks whether its files exist.
    dataset = factory(root=folder, download=True, **dict([chosen]))
    labels = np.asarray(getattr(dataset, source.labels), np.int64)
    return TorchvisionSplit(dataset, labels, source.card.name, folder)


_CIFAR_TERMS = "by A. Krizhevsky, 2009; no licence is stated, cite the technical report"

PUBLISHED = (
    Published(
        card=DatasetCard(
            name="cifar10",
            title="CIFAR-10, 50 000 + 10 000 (downloads 170 MB)",
            classes=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
            class_count=10,
            train_count=50_000,
            test_count=10_000,
            licence=f"CIFAR-10 {_CIFAR_TERMS}",
        ),
        factory="CIFAR10",
        train=("train", True),
        test=("train", False),
        labels="targets",
        archives=("cifar-10-python.tar.gz",),
    ),
    Published(
        card=DatasetCard(
            name="cifar100",
            title="CIFAR-100, 50 000 + 10 000 (downloads 169 MB)",
            classes=None,
            class_count=100,
            train_count=50_000,
            test_count=10_000,
            licence=f"CIFAR-100 {_CIFAR_TERMS}",
        ),
        factory="CIFAR100",
        train=("train", True),
        test=("train", False),
        labels="targets",
        archives=("cifar-100-python.tar.gz",),
    ),
    Published(
        card=DatasetCard(
            name="flowers102",
            title="Oxford 102 Flower, 1 020 + 6 149 (downloads 345 MB)",
            classes=None,
            class_count=102,
            train_count=1020,
            test_count=6149,
            licence="Oxford 102 Flower by Nilsback and Zisserman, 2008; no licence is stated",
        ),
        factory="Flowers102",
        train=("split", "train"),
        test=("split", "test"),
        labels="_labels",
        archives=(
            "flowers-102/102flowers.tgz",
            "flowers-102/imagelabels.mat",
            "flowers-102/setid.mat",
        ),
    ),
    Published(
        card=DatasetCard(
            name="oxford_iiit_pets",
            title="Oxford-IIIT Pet, 3 680 + 3 669 (downloads 811 MB)",
            classes=None,
            class_count=37,
            train_count=3680,
            test_count=3669,
            licence="Oxford-IIIT Pet by Parkhi et al., 2012, CC BY-SA 4.0",
        ),
        factory="OxfordIIITPet",
        train=("split", "trainval"),
        test=("split", "test"),
        labels="_labels",
        archives=("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"),
    ),
    Published(
        card=DatasetCard(
            name="food101",
            title="Food-101, 75 750 + 25 250 (downloads 5 GB)",
            classes=None,
            class_count=101,
            train_count=75_750,
            test_count=25_250,
            licence="Food-101 by Bossard et al., 2014; from Foodspotting, for scientific fair use",
        ),
        factory="Food101",
        train=("split", "train"),
        test=("split", "test"),
        labels="_labels",
        archives=("food-101.tar.gz",),
    ),
    Published(
        card=DatasetCard(
            name="fashion_mnist",
            title="Fashion-MNIST, 60 000 + 10 000 (downloads 31 MB)",
            classes=FASHION_CLASSES,
            class_count=10,
            train_count=60_000,
            test_count=10_000,
            licence="Fashion-MNIST by Zalando SE, MIT",
        ),
        factory="FashionMNIST",
        train=("train", True),
        test=("train", False),
        labels="targets",
        archives=(
            "FashionMNIST/raw/train-images-idx3-ubyte.gz",
            "FashionMNIST/raw/train-labels-idx1-ubyte.gz",
            "FashionMNIST/raw/t10k-images-idx3-ubyte.gz",
            "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
        ),
    ),
)
