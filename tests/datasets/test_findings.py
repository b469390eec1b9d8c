"""Nothing is ignored silently: what is rejected, and the remarks on unused files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.datasets import check_dataset, formats, load_dataset
from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.files import ImageFile
from asi_core.datasets.formats import is_image
from asi_core.datasets.layout import find_layout
from asi_core.datasets.others import Others
from asi_core.errors import InvalidInput
from tests.datasets.pictures import encoded, noise, picture, write_folder, write_zip

Checked = Callable[..., DatasetCard]


def named(**counts: int) -> list[str]:
    return [f"{name}/{number}.png" for name, count in counts.items() for number in range(count)]


@pytest.fixture(params=["folder", "zip"])
def checked(request: pytest.FixtureRequest, tmp_path: Path) -> Checked:
    """The card of a folder or zip with files of these names."""

    def card(*names: str) -> DatasetCard:
        contents = {name: picture() if is_image(name) else b"x" for name in names}
        write = write_folder if request.param == "folder" else write_zip
        place = write(tmp_path / "photos", {n: c for n, c in contents.items() if n[-1] != "/"})
        return check_dataset(f"imagefolder:{place}")

    return card


CLASSES = named(cat=5, dog=5)


@pytest.mark.parametrize("ending", ["gif", "tif", "tiff", "jfif", "jpe", "ppm", "apng"])
def test_a_class_of_any_format_is_a_class(ending: str, tmp_path: Path) -> None:
    kinds = {e: kind for kind, ends in formats.FORMATS.items() for e in ends}
    kind = kinds[f".{ending}"]
    contents = {f"{name}/{n}.png": picture() for name in ("cat", "dog") for n in range(5)}
    contents |= {f"emu/{n}.{ending}": encoded(noise(9, 9, n), kind) for n in range(5)}
    data = load_dataset(f"imagefolder:{write_zip(tmp_path / 'photos.zip', contents)}")
    assert data.classes == ("cat", "dog", "emu")
    assert len(data.train) + len(data.test) == 15


@pytest.mark.parametrize("wrapper", ["", "photos/", "photos/photos/"])
@pytest.mark.parametrize("below", ["", "more/"])
def test_a_class_of_which_nothing_can_be_read_is_refused_by_name(
    wrapper: str, below: str, checked: Checked
) -> None:
    unread = [f"emu/{below}{number}.svg" for number in range(7)]
    with pytest.raises(InvalidInput, match=r"none in folder 'emu' of .*photos \(7 \.svg\)"):
        checked(*(f"{wrapper}{name}" for name in [*CLASSES, *unread]))


def test_a_class_of_unknown_files_is_refused(checked: Checked) -> None:
    with pytest.raises(InvalidInput, match=r"'emu' of .*\(2 \.xyz, 1 \.abc\)"):
        checked(*CLASSES, "emu/1.xyz", "emu/2.xyz", "emu/3.abc")


def test_all_such_classes_are_counted(checked: Checked) -> None:
    unread = [f"{name}/{n}.psd" for name in ("ant", "bee", "emu") for n in range(2)]
    with pytest.raises(InvalidInput, match=r"'ant' of .*\(2 \.psd, and 2 more such folders\)"):
        checked(*CLASSES, *unread)


@pytest.mark.parametrize("split", ["Train", "val"])
def test_unreadable_classes_are_found_in_both_splits(split: str, checked: Checked) -> None:
    both = [f"{split}/{name}" for split in ("Train", "val") for name in CLASSES]
    with pytest.raises(InvalidInput, match=f"none in folder '{split.lower()}/emu'"):
        checked(*both, f"{split}/emu/1.raw")


@pytest.mark.skipif("HEIF" in formats.FORMATS, reason="pillow-heif is installed")
@pytest.mark.parametrize("names", [named(cat=4), []])
def test_the_reader_for_heic_is_named(names: list[str], checked: Checked) -> None:
    with pytest.raises(InvalidInput, match=r"install the extra `heic` \(pillow-heif\)"):
        checked(*names, *(f"dog/{number}.HEIC" for number in range(4)))


@pytest.mark.skipif("HEIF" not in formats.FORMATS, reason="pillow-heif is not installed")
def test_heic_is_read_where_its_reader_is_installed(tmp_path: Path) -> None:
    contents = {
        f"{name}/{n}.heic": encoded(noise(64, 64, n), "HEIF")
        for name in ("cat", "dog")
        for n in range(3)
    }
    assert len(load_dataset(f"imagefolder:{write_folder(tmp_path, contents)}").train) == 4


@pytest.mark.parametrize(
    ("more", "remark"),
    [
        (["notes.txt", "cat/.DS_Store", "dog/Thumbs.db", "__MACOSX/cat/._1.png"], None),
        (["cat/notes.txt", "cat/1.svg", "dog/2.svg"], "3 other files are not read"),
        (["cat/1.svg"], "1 other file is not read: 1 .svg."),
        (["docs/a.md", "docs/b.exe"], "1 folder has no images: 'docs'."),
        (["1.png", "2.png"], "2 images are not used: 2 images in no folder."),
    ],
)
def test_unused_files_are_reported(more: list[str], remark: str | None, checked: Checked) -> None:
    card = checked(*CLASSES, *more)
    assert (card.class_count, (card.train_count or 0) + (card.test_count or 0)) == (2, 10)
    assert [message for message in card.remarks if remark and remark.split(":")[0] in message] == (
        [] if remark is None else list(card.remarks)
    )
    assert len(card.remarks) == (remark is not None)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    place = write_folder(tmp_path, dict.fromkeys(CLASSES, picture()))
    (place / "emu").mkdir()
    (place / ".git").mkdir()
    assert check_dataset(f"imagefolder:{place}").remarks == ("1 folder has no images: 'emu'.",)


@pytest.mark.parametrize("train", ["train", "training", "Training"])
@pytest.mark.parametrize("test", ["test", "testing", "val", "validation"])
def test_folders_of_splits_may_be_called_in_many_ways(
    train: str, test: str, checked: Checked
) -> None:
    card = checked(*(f"{train}/{name}" for name in CLASSES), *(f"{test}/{n}" for n in CLASSES[4:6]))
    assert (card.train_count, card.test_count, card.remarks) == (10, 2, ())


def test_images_of_another_split_are_counted(checked: Checked) -> None:
    card = checked(
        *(f"{split}/{name}" for split in ("train", "test", "val") for name in CLASSES),
        *("sheet.png", "train/preview.png", "unlabelled/deep/er/1.png"),
    )
    assert (card.train_count, card.test_count) == (10, 10)
    (remark,) = card.remarks
    assert remark.startswith("13 images are not used: 5 images in 'val/cat/'; 5 images in 'val/dog")
    assert "1 image in 'unlabelled/deep/er/'" in remark


def test_a_test_folder_without_classes_is_not_the_one_to_test_on(checked: Checked) -> None:
    flat = [f"test/{number}.png" for number in range(4)]
    splits = [f"{split}/{name}" for split in ("train", "val") for name in CLASSES]
    card = checked(*splits, *flat)
    assert card.test_count == 10
    assert card.remarks == ("4 images are not used: 4 images in 'test/'.",)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            [*(f"{n}.png" for n in range(8)), "labels.csv"],
            r"\(found: 8 images in no folder; 'labels.csv'\): put each image into a folder "
            r"named after its class \(see 'labels.csv'\) instead",
        ),
        (
            [f"{n}.png" for n in range(8)],
            "put each image into a folder named after its class instead",
        ),
        (["train.zip"], r"\(found: 'train.zip', .*\): unpack 'train.zip' and pack the folders"),
        (["a/train.tar.gz", "b.txt"], "unpack 'a/train.tar.gz'"),
        (["notes.txt", "more.txt"], r"to train on, got none in .* \(found: 2 .txt\)"),
        (
            [f"train/{name}" for name in CLASSES],
            r"to test on, got none in .*\(found: 10 images in 'train/'\): add test/<class>/",
        ),
        (["cat/1.png", "dog/1.png"], "add a second image to a class"),
        (
            ["train/1.png", "test/2.png"],
            r"\(found: 1 image in 'test/'; 1 image in 'train/'\): lay them out as",
        ),
    ],
)
def test_a_refusal_says_what_is_there_and_what_would_help(
    names: list[str], sentence: str, checked: Checked
) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        checked(*names)
    assert len(str(refused.value)) < 500


def test_names_that_are_the_same_to_unicode_are_one_class(checked: Checked) -> None:
    one, other = (unicodedata.normalize(form, "château") for form in ("NFC", "NFD"))
    assert one != other
    card = checked(*named(cat=5), *(f"{one}/{n}.png" for n in range(3)), f"{other}/9.png")
    assert card.classes == ("cat", one)
    assert (card.train_count or 0) + (card.test_count or 0) == 9


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1))
def test_the_form_of_a_name_changes_no_split(texts: list[str]) -> None:
    clean = [t.replace("/", "_").replace("\0", "_") for t in texts]
    names = [f"{cls}/{n}{text}.png" for cls in "ab" for n, text in enumerate(clean * 3)]

    def split(form: str) -> set[str]:
        files = [ImageFile(unicodedata.normalize(form, name), 1, 1) for name in names]
        found = find_layout(files, "photos")
        return {unicodedata.normalize("NFC", example.file.name) for example in found.test}

    assert split("NFC") == split("NFD")


def test_others_count_by_folder_and_ending() -> None:
    others = Others()
    for name in ("a/1.TXT", "a/2.txt", "b/README", ".git/x", "c.csv"):
        others.add_file(name)
    assert {(k.folder, k.suffix): n for k, n in others.counts.items()} == {
        ("a", ".txt"): 2,
        ("b", ""): 1,
        ("", ".csv"): 1,
    }
