from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image

from asi_core.datasets import DATASETS, load_dataset, published
from asi_core.datasets.published import PUBLISHED
from asi_core.errors import Unavailable
from tests.datasets.pictures import noise, picture, write_folder

SOURCES = {source.card.name: source for source in PUBLISHED}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing loaded by an earlier test."""

    def refuse(*args: Any, **more: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    published._load.cache_clear()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("name", list(SOURCES))
def test_without_a_network_the_remedies_are_reported(name: str, home: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        load_dataset(name)
    sentence = str(caught.value)
    assert f"data set {name} is incomplete in {home / 'datasets'}" in sentence
    assert "no network" in sentence
    assert "connect to the network" in sentence
    assert "imagefolder:PATH" in sentence
    for archive in SOURCES[name].archives:
        assert archive in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("name", list(SOURCES))
def test_archives_have_the_names_that_torchvision_expects(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card's remedy names every file that torchvision would download."""
    asked: set[str] = set()

    def note(url: str, root: object, filename: object = None, md5: object = None) -> None:
        asked.add(str(Path(str(root)) / str(filename or Path(url).name)))

    def note_archive(url: str, download_root: object, *args: object, **more: Any) -> None:
        note(url, download_root, more.get("filename"))

    for module in ("cifar", "flowers102", "oxford_iiit_pet", "food101", "mnist"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.download_and_extract_archive", note_archive
        )
    monkeypatch.setattr("torchvision.datasets.flowers102.download_url", note)
    with pytest.raises(Unavailable):
        load_dataset(name)
    assert asked == {str(home / "datasets" / archive) for archive in SOURCES[name].archives}


def cifar_files(fine: bool) -> dict[str, bytes]:
    rng = np.random.default_rng(0)

    def batch(count: int) -> bytes:
        labels = {"fine_labels" if fine else "labels": [number % 3 for number in range(count)]}
        return pickle.dumps({"data": rng.integers(0, 256, (count, 3072), np.uint8), **labels})

    if fine:
        meta = {"fine_label_names": ["apple", "bear", "clock"]}
        return {"train": batch(6), "test": batch(3), "meta": pickle.dumps(meta)}
    batches = {f"data_batch_{number}": batch(2) for number in range(1, 6)}
    meta = {"label_names": ["airplane", "bird", "cat"]}
    return {**batches, "test_batch": batch(3), "batches.meta": pickle.dumps(meta)}


@pytest.mark.parametrize(
    ("name", "factory", "count"), [("cifar10", tv.CIFAR10, 10), ("cifar100", tv.CIFAR100, 6)]
)
def test_cifar_is_unpacked_from_the_archive_that_was_put_there(
    name: str, factory: Any, count: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cifar_files(fine=name == "cifar100")
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{factory.base_folder}/{file}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    write_folder(home / "datasets", {SOURCES[name].archives[0]: stream.getvalue()})
    monkeypatch.setattr(factory, "tgz_md5", md5(stream.getvalue()))
    for group in ("train_list", "test_list"):
        known = [[file, md5(files[file])] for file, _ in getattr(factory, group)]
        monkeypatch.setattr(factory, group, known)
    meta = {**factory.meta, "md5": md5(files[factory.meta["filename"]])}
    monkeypatch.setattr(factory, "meta", meta)

    data = load_dataset(name)
    assert (len(data.train), len(data.test), len(data.classes)) == (count, 3, 3)
    assert data.test.labels.tolist() == [0, 1, 2]
    rows = pickle.loads(files["test" if name == "cifar100" else "test_batch"])["data"]
    stored = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(data.test.read(np.array([2, 0]), 32), stored[[2, 0]])
    assert data.test.read(np.array([1]), 48).shape == (1, 48, 48, 3)
    assert load_dataset(name) is data


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """An IDX file (LeCun's format): magic with the number of dimensions, sizes, bytes."""
    return struct.pack(f">{array.ndim + 1}i", 0x800 + array.ndim, *array.shape) + array.tobytes()


def test_grey_images_are_read_as_colours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    labels = np.array([3, 1, 2, 9], np.uint8)
    names = [Path(archive).name for archive in SOURCES["fashion_mnist"].archives]
    files = {
        name: gzip.compress(idx(images if "images" in name else labels), mtime=0) for name in names
    }
    write_folder(home / "datasets" / "FashionMNIST" / "raw", files)
    resources = [(name, md5(content)) for name, content in files.items()]
    monkeypatch.setattr(tv.FashionMNIST, "resources", resources)
    data = load_dataset("fashion_mnist")
    assert data.classes == DATASETS["fashion_mnist"].classes
    assert data.train.labels.tolist() == [3, 1, 2, 9]
    np.testing.assert_array_equal(
        data.train.read(np.array([1]), 28)[0], np.repeat(images[1][..., None], 3, axis=2)
    )


def jpeg() -> bytes:
    return picture((250, 0, 0), (40, 20), "JPEG")


def pets(home: Path) -> Path:
    return write_folder(
        home / "datasets" / "oxford-iiit-pet",
        {
            "annotations/trainval.txt": b"Abyssinian_1 1 1 1\nred_dog_2 2 2 1\n",
            "annotations/test.txt": b"red_dog_3 2 2 1\n",
            "images/Abyssinian_1.jpg": jpeg(),
            "images/red_dog_2.jpg": jpeg(),
            "images/red_dog_3.jpg": jpeg()[:100],
        },
    )


def test_files_already_unpacked_are_read_in_place(home: Path) -> None:
    pets(home)
    data = load_dataset("oxford_iiit_pets")
    assert data.classes == ("Abyssinian", "Red Dog")
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1], [1])
    images = data.train.read(np.array([1, 1]), 16)
    assert images.shape == (2, 16, 16, 3)
    assert images[..., 0].min() > 240


def test_a_half_unpacked_set_is_reported(home: Path) -> None:
    folder = pets(home)
    split = load_dataset("oxford_iiit_pets").test
    with pytest.raises(Unavailable, match=r"image 0 of data set \w+ in .* is missing"):
        split.read(np.array([0]), 16)
    published._load.cache_clear()
    (folder / "annotations" / "test.txt").unlink()
    with pytest.raises(Unavailable, match=r"incomplete in .*test.txt.* replace its files"):
        load_dataset("oxford_iiit_pets")


def test_food_is_read_from_its_lists(home: Path) -> None:
    write_folder(
        home / "datasets" / "food-101",
        {
            "meta/train.json": b'{"pizza": ["pizza/1"], "apple_pie": ["apple_pie/2"]}',
            "meta/test.json": b'{"pizza": ["pizza/3"], "apple_pie": []}',
            **{f"images/{name}.jpg": jpeg() for name in ("pizza/1", "apple_pie/2", "pizza/3")},
        },
    )
    data = load_dataset("food101")
    assert data.classes == ("apple_pie", "pizza")
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([1, 0], [1])
    assert data.test.read(np.array([0]), 16).shape == (1, 16, 16, 3)


def test_flowers_are_read_from_their_lists(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    folder = write_folder(
        home / "datasets" / "flowers-102",
        {f"jpg/image_{number:05}.jpg": jpeg() for number in (1, 2, 3, 4)},
    )
    savemat(folder / "imagelabels.mat", {"labels": np.array([[77, 1, 2, 102]])})
    lists = {"trnid": [[1, 2]], "valid": [[3, 3]], "tstid": [[3, 4]]}
    savemat(folder / "setid.mat", {name: np.array(ids) for name, ids in lists.items()})
    sums = {
        key: (file, md5((folder / file).read_bytes()) if key != "image" else known)
        for key, (file, known) in tv.Flowers102._file_dict.items()
        if key == "image" or (folder / file).exists()
    }
    monkeypatch.setattr(tv.Flowers102, "_file_dict", sums)
    data = load_dataset("flowers102")
    assert len(data.classes) == DATASETS["flowers102"].class_count
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([76, 0], [1, 101])
    assert data.test.read(np.array([1]), 16).shape == (1, 16, 16, 3)


class Fake:
    """The used part of a torchvision data set; the newest has no class names."""

    made: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        self.targets = [1, 0]

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return noise(10, 10, index), self.targets[index]


def test_the_first_use_downloads_into_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tv, "CIFAR10", Fake)
    monkeypatch.setattr(Fake, "made", [])
    data = load_dataset("cifar10")
    common = {"root": home / "datasets", "download": True}
    assert Fake.made == [{**common, "train": True}, {**common, "train": False}]
    assert data.classes == tuple(str(number) for number in range(1, 11))


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("Error downloading x:\nTried y"),
        ConnectionResetError("reset"),
        tarfile.ReadError("unexpected end of data"),
        EOFError("ended"),
        ImportError("No module named 'scipy'"),
        OSError(28, "No space left on device"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_any_failure_is_one_sentence(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise failure

    monkeypatch.setattr(tv, "Food101", fail)
    with pytest.raises(Unavailable, match="data set food101 is incomplete") as caught:
        load_dataset("food101")
    assert "\n" not in str(caught.value)
    assert str(failure).split("\n")[0].rstrip(".:") in str(caught.value)


def test_fingerprints_tell_the_sets_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tv, "CIFAR10", Fake)
    monkeypatch.setattr(tv, "CIFAR100", Fake)
    assert load_dataset("cifar10").fingerprint != load_dataset("cifar100").fingerprint


def test_checking_imports_no_torch() -> None:
    code = (
        "import sys; from asi_core.datasets import DATASETS, check_dataset\n"
        "for name in DATASETS: check_dataset(name)\n"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
