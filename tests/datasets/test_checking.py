"""Damaged images are all named at once, checked once, and reported without server paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asi_core.datasets import check_dataset, check_images, checking, limits, load_dataset
from asi_core.datasets.checking import Damage, Damaged, forget_older
from asi_core.datasets.files import FolderFiles, ImageFile, Unreadable
from asi_core.datasets.uploads import keep_upload
from asi_core.errors import InvalidInput, Unavailable
from tests.datasets.pictures import both_splits, encoded, noise, write_folder, write_zip

DAMAGED = ["test/dog/1.png", "train/cat/0.png", "train/dog/2.png"]


def contents(damaged: list[str] = DAMAGED) -> dict[str, bytes]:
    """Images, some of them truncated."""
    images = {name: encoded(noise(12, 12, n)) for n, name in enumerate(both_splits(train=4))}
    return images | {name: images[name][:-30] for name in damaged}


def found_out(dataset: str) -> int:
    """Check all images; returns how often progress was reported."""
    return len(list(check_images(dataset)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were decoded to check them."""
    names: list[str] = []
    check = checking.check_image

    def watched(data: bytes, what: str) -> None:
        names.append(what)
        check(data, what)

    monkeypatch.setattr(checking, "check_image", watched)
    return names


@pytest.fixture
def no_memory() -> Iterator[None]:
    """As in a new process: only what is on disk is known."""
    checking._record_at.cache_clear()
    yield
    checking._record_at.cache_clear()


@pytest.mark.parametrize("packed", [False, True])
def test_all_are_named_and_counted(packed: bool, tmp_path: Path) -> None:
    write = write_zip if packed else write_folder
    name = f"imagefolder:{write(tmp_path / 'photos', contents())}"
    assert check_dataset(name).damage is None
    with pytest.raises(Unavailable, match="3 of 12 images in") as refused:
        load_dataset(name)
    assert all(f"{damaged!r} (damaged)" in str(refused.value) for damaged in DAMAGED)
    known = check_dataset(name).damage
    assert known is not None
    assert sorted(known.names) == DAMAGED
    assert known.count == 12


def test_they_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    name = f"imagefolder:{write_folder(tmp_path, contents())}"
    data = load_dataset(name, skip_damaged=True)
    assert (len(data.train), len(data.test)) == (6, 3)
    assert sorted(damaged for damaged, _ in data.left_out) == DAMAGED
    assert data.train.read(range(6), 8).shape == (6, 8, 8, 3)  # type: ignore[arg-type]
    card = check_dataset(name, skip_damaged=True)
    assert (card.train_count, card.test_count, card.class_count) == (6, 3, 2)
    card.check_images(skip_damaged=True)
    with pytest.raises(Unavailable, match="leave them out"):
        card.check_images(skip_damaged=False)


def test_what_is_trained_on_is_distinguished(tmp_path: Path) -> None:
    """Without the left-out images, indices mean other images: so do kept features."""
    whole = load_dataset(f"imagefolder:{write_folder(tmp_path / 'a', contents([]))}")
    cut = load_dataset(f"imagefolder:{write_folder(tmp_path / 'b', contents())}", skip_damaged=True)
    assert whole.fingerprint != cut.fingerprint


@pytest.mark.parametrize(
    ("damaged", "sentence"),
    [
        ([f"train/dog/{n}.png" for n in range(4)], "got none of class 'dog' in"),
        ([f"test/{c}/{n}.png" for c in ("cat", "dog") for n in range(2)], "got none to test on"),
    ],
)
def test_a_class_without_any_is_refused(damaged: list[str], sentence: str, tmp_path: Path) -> None:
    name = f"imagefolder:{write_folder(tmp_path, contents(damaged))}"
    for probe in (load_dataset, check_dataset):
        with pytest.raises(InvalidInput, match=sentence):
            probe(name, skip_damaged=True)


def test_the_split_is_that_of_all_images(tmp_path: Path) -> None:
    """Leaving one image out does not move others from training to testing."""
    images = {f"{c}/{n}.png": encoded(noise(9, 9, n)) for c in "ab" for n in range(10)}
    whole = load_dataset(f"imagefolder:{write_folder(tmp_path / 'a', images)}")
    images["a/3.png"] = b"no image"
    cut = load_dataset(f"imagefolder:{write_folder(tmp_path / 'b', images)}", skip_damaged=True)
    for one, other in ((whole.train, cut.train), (whole.test, cut.test)):
        names = [[file.name for file in split.files] for split in (one, other)]  # type: ignore[attr-defined]
        assert [name for name in names[0] if name != "a/3.png"] == names[1]


def test_an_image_is_decoded_once_while_it_is_the_same(
    tmp_path: Path, decoded: list[str], no_memory: None
) -> None:
    place = write_folder(tmp_path / "photos", contents())
    name = f"imagefolder:{place}"
    assert found_out(name) == 1
    assert len(decoded) == 12
    checking._record_at.cache_clear()
    assert found_out(name) == 0
    assert check_dataset(name).damage is not None
    more = write_folder(place, {"train/cat/9.png": encoded(noise(9, 9))})
    assert check_dataset(name).damage is None
    assert found_out(name) == 1
    assert decoded[12:] == ["train/cat/9.png"]
    (more / "train/cat/0.png").write_bytes(encoded(noise(12, 12, 70)))
    found_out(name)
    assert decoded[13:] == ["train/cat/0.png"]
    assert sorted(check_dataset(name).damage.names) == [DAMAGED[0], DAMAGED[2]]  # type: ignore[union-attr]


def test_an_interrupted_check_resumes(
    tmp_path: Path, decoded: list[str], no_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_CHUNK", 4)
    name = f"imagefolder:{write_folder(tmp_path, contents())}"
    assert next(check_images(name)) == 8
    checking._record_at.cache_clear()
    assert check_dataset(name).damage is None
    assert list(check_images(name)) == [4, 0]
    assert sorted(decoded) == sorted(contents())


def test_an_incomplete_line_is_ignored(home: Path, tmp_path: Path, no_memory: None) -> None:
    name = f"imagefolder:{write_folder(tmp_path / 'photos', contents())}"
    found_out(name)
    (record,) = (home / "checked").iterdir()
    text = record.read_text()
    for cut in range(len(text) - 1):
        # A process ended in the middle of a line, and another continued to write.
        for rest in ("", text[cut + 1 :]):
            record.write_text(text[:cut] + rest)
            checking._record_at.cache_clear()
            known = check_dataset(name).damage
            assert known is None or sorted(known.names) == DAMAGED
    with pytest.raises(Unavailable, match="3 of 12 images"):
        load_dataset(name)


def test_the_record_of_removed_files_is_dropped(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_CHUNK", 4)
    place = write_folder(tmp_path / "photos", contents([]))
    for seed in range(9):
        for name in contents([]):
            (place / name).write_bytes(encoded(noise(10 + seed, 9, seed)))
        found_out(f"imagefolder:{place}")
    (record,) = (home / "checked").iterdir()
    assert len(record.read_text().splitlines()) <= 12 * 3 + 4
    forget_older(record.stat().st_mtime + 1)
    assert not list((home / "checked").iterdir())


def test_a_record_that_cannot_be_written_is_no_obstacle(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    (home / "checked").write_text("in the way")
    name = f"imagefolder:{write_folder(tmp_path / 'photos', contents())}"
    with pytest.raises(Unavailable, match="3 of 12 images"):
        load_dataset(name)
    assert len(load_dataset(name, skip_damaged=True).train) == 6


def test_faults_have_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_PIXELS", 200)
    images = contents(["train/cat/0.png"]) | {
        "train/cat/1.png": b"",
        "train/cat/2.png": encoded(noise(30, 30)),
    }
    place = write_folder(tmp_path, images)
    with pytest.raises(Unavailable) as refused:
        load_dataset(f"imagefolder:{place}")
    message = str(refused.value)
    for name, fault in (("0", "damaged"), ("1", "empty"), ("2", "too many pixels")):
        assert f"'train/cat/{name}.png' ({fault})" in message


def test_a_file_without_access_is_checked_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_folder(tmp_path / "photos", contents([]))
    with monkeypatch.context() as closed:
        read = FolderFiles.read

        def refuse(self: FolderFiles, file: ImageFile) -> bytes:
            if file.name == "train/cat/0.png":
                raise Unreadable("it is locked")
            return read(self, file)

        closed.setattr(FolderFiles, "read", refuse)
        with pytest.raises(Unavailable, match=r"'train/cat/0.png' \(no access\)"):
            load_dataset(f"imagefolder:{place}")
    assert len(load_dataset(f"imagefolder:{place}").train) == 8
    (record,) = (home / "checked").iterdir()
    assert "no access" not in record.read_text()


def test_of_many_damaged_images_some_are_named_and_all_counted() -> None:
    damaged = tuple(Damaged(f"{'x' * 300}/{number}.jpg", "damaged") for number in range(5000))
    message = Damage(damaged, 6000, "photos.zip").sentence
    assert message.startswith("5000 of 6000 images in photos.zip cannot be read: '…xxx")
    assert message.endswith("/19.jpg' (damaged), and 4980 more")
    assert len(message) < 2500


def test_a_visitor_sees_names_of_files_and_no_path_of_the_server(
    home: Path, tmp_path: Path
) -> None:
    place = write_zip(tmp_path / "upload.zip", contents())
    with place.open("rb") as stream:
        name = keep_upload(stream, "Meine Tiere.zip", "me").name
    with pytest.raises(Unavailable, match=r"3 of 12 images in meine-tiere\.zip") as refused:
        load_dataset(name)
    assert str(home) not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
