from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from asi_core.datasets import check_dataset, load_dataset, zips
from asi_core.errors import AsiError, InvalidInput, Unavailable
from tests.datasets.pictures import both_splits, picture, write_folder, write_zip

Writer = Callable[[Path, Mapping[str, bytes]], Path]
CIFAR = Path(__file__).parents[3] / "shared" / "datasets" / "cifar10_small.zip"


@pytest.fixture(params=["folder", "zip"])
def write(request: pytest.FixtureRequest) -> Writer:
    return write_folder if request.param == "folder" else write_zip


@pytest.mark.parametrize("wrapper", ["", "my photos/"])
def test_user_images_are_read(write: Writer, wrapper: str, tmp_path: Path) -> None:
    clutter = ("__MACOSX/train/cat/._0.png", f"{wrapper}train/.DS_Store", "read me.txt")
    contents = {**both_splits(below=wrapper), **dict.fromkeys(clutter, b"")}
    place = write(tmp_path / "photos", contents)
    data = load_dataset(f"imagefolder:{place}")
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.train.labels.dtype == np.int64
    images = data.train.read(np.array([5, 0]), 16)
    assert images.shape == (2, 16, 16, 3)
    assert images[:, 3, 3].tolist() == [[0, 0, 200], [200, 0, 0]]


def test_fingerprints_tell_contents_apart(write: Writer, tmp_path: Path) -> None:
    contents = both_splits()
    first = load_dataset(f"imagefolder:{write(tmp_path / 'a', contents)}")
    again = load_dataset(f"imagefolder:{tmp_path / 'a'}")
    contents["train/cat/0.png"] = picture((200, 0, 1))
    other = load_dataset(f"imagefolder:{write(tmp_path / 'b', contents)}")
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_folder_is_read_again_every_time(tmp_path: Path) -> None:
    place = write_folder(tmp_path, both_splits(train=3))
    assert check_dataset(f"imagefolder:{place}").train_count == 6
    write_folder(tmp_path, both_splits(train=4))
    assert check_dataset(f"imagefolder:{place}").train_count == 8


def test_a_zip_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[Path] = []

    class Watched(zips.ZipFiles):
        def __init__(self, path: Path, title: str | None = None) -> None:
            probes.append(path)
            super().__init__(path, title)

    monkeypatch.setattr(zips, "ZipFiles", Watched)
    place = write_zip(tmp_path / "photos.zip", both_splits(train=3))
    for _ in range(3):
        assert check_dataset(f"imagefolder:{place}").train_count == 6
    assert len(probes) == 1
    write_zip(place, both_splits(train=4))
    os.utime(place, ns=(0, 0))
    assert check_dataset(f"imagefolder:{place}").train_count == 8
    assert len(probes) == 2


def test_a_path_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "photos", both_splits())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_dataset("imagefolder:~/photos").test_count == 4


@pytest.mark.parametrize("path", ["/no/where", "photos\0", "~nobody-of-this-name/x", "x" * 5000])
def test_a_missing_path_is_reported(path: str) -> None:
    for probe in (check_dataset, load_dataset):
        with pytest.raises(Unavailable, match="no folder or zip of images is at"):
            probe(f"imagefolder:{path}")


def test_an_empty_folder_or_another_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="must have images"):
        check_dataset(f"imagefolder:{tmp_path}")
    (tmp_path / "notes.txt").write_text("no zip")
    os.mkfifo(tmp_path / "pipe.zip")
    for name, sentence in (("notes.txt", "is not a zip"), ("pipe.zip", "no folder or zip")):
        with pytest.raises(Unavailable, match=sentence):
            check_dataset(f"imagefolder:{tmp_path / name}")


@pytest.mark.parametrize("depth", [1, 2, 3, 10])
def test_an_image_below_its_class_is_reported(write: Writer, depth: int, tmp_path: Path) -> None:
    deep = "train/cat/" + "x/" * depth + "deep.png"
    place = write(tmp_path / "photos", {**both_splits(), deep: picture()})
    with pytest.raises(
        InvalidInput, match=r"directly in the folder of their class, got .*deep\.png"
    ):
        check_dataset(f"imagefolder:{place}")


def test_errors_are_one_line(tmp_path: Path) -> None:
    strange = tmp_path / "two\nlines"
    strange.mkdir()
    with pytest.raises(AsiError) as caught:
        check_dataset(f"imagefolder:{strange}")
    assert str(caught.value).count("two") == 1


@pytest.mark.skipif(not CIFAR.exists(), reason="the project's shared images are not here")
def test_real_images_are_read() -> None:
    data = load_dataset(f"imagefolder:{CIFAR}")
    assert len(data.classes) == 10
    assert np.bincount(data.train.labels).tolist() == [1000] * 10
    assert np.bincount(data.test.labels).tolist() == [200] * 10
    for size in (32, 64):
        images = data.test.read(np.arange(0, 2000, 100), size)
        assert images.shape == (20, size, size, 3)
        assert images.std() > 30
