from __future__ import annotations

import os
from pathlib import Path

import pytest

from asi_core.datasets import limits
from asi_core.datasets.files import FolderFiles, ImageFile, fingerprint
from asi_core.datasets.formats import is_image
from asi_core.errors import InvalidInput, Unavailable
from tests.datasets.pictures import write_folder


def names(path: Path) -> list[str]:
    return [file.name for file in FolderFiles(path).files]


@pytest.mark.parametrize(
    "name",
    ["a/b.jpg", "a/b.JPEG", "b.Png", "a b/c.bmp", "a/b.tar.webp", "a/b.gif", "a/b.TIF", "a/b.jfif"],
)
def test_images_are_known_by_their_suffix(name: str) -> None:
    assert is_image(name)


@pytest.mark.parametrize(
    "name",
    [
        "a/b.txt",
        "a/jpg",
        "a/.jpg",
        ".a/b.jpg",
        "a/._b.jpg",
        "__MACOSX/a/b.jpg",
        "a/.DS_Store",
        "a/b.svg",
        "a/Thumbs.db/c.png",
        "a/b.jpg.exe",
    ],
)
def test_everything_else_is_ignored(name: str) -> None:
    assert not is_image(name)


def test_a_folder_is_searched_and_sorted(tmp_path: Path) -> None:
    contents = dict.fromkeys(["b/2.jpg", "b/10.jpg", "a/x.png", "notes.txt", ".git/y.png"], b"12")
    assert names(write_folder(tmp_path, contents)) == ["a/x.png", "b/10.jpg", "b/2.jpg"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    elsewhere = write_folder(tmp_path / "elsewhere", {"1.png": b"1"})
    root = write_folder(tmp_path / "photos", {"cat/2.png": b"2"})
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    assert names(root) == ["cat/2.png", "dog/1.png"]
    (root / "loop").symlink_to(root)
    (elsewhere / "back").symlink_to(root)
    assert names(root) == ["cat/2.png", "dog/1.png"]
    (root / "emu").symlink_to(elsewhere)
    assert names(root) == ["cat/2.png", "dog/1.png", "emu/1.png"], "twice is no loop"


def test_images_are_found_however_deep_they_lie(tmp_path: Path) -> None:
    deep = "train/cat/" + "x/" * 20 + "1.png"
    assert names(write_folder(tmp_path, {"train/cat/0.png": b"1", deep: b"1"})) == sorted(
        ["train/cat/0.png", deep]
    )


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("limit", "most", "sentence"),
    [
        ("MOST_IMAGES", 2, "at most 2 images, got more in"),
        ("MOST_ENTRIES", 4, "at most 4 files, got more in"),
        ("LARGEST_FILE_BYTES", 4, r"files of at most 4.B, got 5.B in 'a/\d.png'"),
        ("LARGEST_TOTAL_BYTES", 14, "at most 14.B uncompressed, got more in"),
    ],
)
def test_limits_are_reported(
    limit: str, most: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, dict.fromkeys(["a/1.png", "a/2.png", "a/3.png", "a/x.txt"], b"12345"))
    monkeypatch.setattr(limits, limit, most + 1)
    assert len(names(tmp_path)) == 3
    monkeypatch.setattr(limits, limit, most)
    with pytest.raises(InvalidInput, match=sentence):
        names(tmp_path)


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Unavailable, match=r"cannot be read \(Permission denied\): grant access"):
        FolderFiles(tmp_path)


def test_a_file_that_changes_or_goes_is_reported(tmp_path: Path) -> None:
    source = FolderFiles(write_folder(tmp_path, {"a/1.png": b"before", "a/2.png": b"before"}))
    first, second = source.files
    assert source.read(first) == b"before"
    (tmp_path / "a/1.png").write_bytes(b"longer than before")
    with pytest.raises(Unavailable, match=r"'a/1.png' in .* changed while"):
        source.read(first)
    (tmp_path / "a/2.png").unlink()
    with pytest.raises(Unavailable, match=r"'a/2.png' in .* cannot be read \(No such file"):
        source.read(second)


def test_fingerprints_tell_contents_apart_in_any_order() -> None:
    file = ImageFile("a/1.png", 10, 7)
    other = ImageFile("b/1.png", 10, 7)
    contents = [
        [file],
        [other],
        [file, other],
        [file._replace(size_bytes=11)],
        [file._replace(stamp=8)],
        [file._replace(name="a/1.png\n")],
    ]
    assert len({fingerprint(content) for content in contents}) == len(contents)
    assert fingerprint([file, other]) == fingerprint([other, file])


def test_names_that_are_no_utf8_have_a_fingerprint() -> None:
    fingerprint([ImageFile(os.fsdecode(b"a/\xff.png"), 1, 1)])
