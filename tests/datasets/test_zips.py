from __future__ import annotations

import struct
import tracemalloc
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asi_core.datasets import limits, zips
from asi_core.datasets.zips import ZipFiles, unsafe_name
from asi_core.errors import InvalidInput, Unavailable
from asi_core.units import MIB
from tests.datasets.pictures import picture, write_zip

PARTS = st.text(
    st.characters(exclude_characters="/\\\0:", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda part: part not in (".", ".."))
SAFE_NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def packed(members: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = 0) -> BytesIO:
    stream = BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of duplicate names
        for member, content in members:
            archive.writestr(member, content)
    return stream


def packed_as(name: str) -> BytesIO:
    """A member with exactly this name in the archive: `ZipInfo` would correct it."""
    member = zipfile.ZipInfo("x")
    member.filename = member.orig_filename = name
    return packed([("cat/1.png", b"1"), (member, b"2")])


def files_of(stream: BytesIO) -> ZipFiles:
    return ZipFiles(stream)  # type: ignore[arg-type]


@given(SAFE_NAMES)
def test_safe_names_are_let_through(name: str) -> None:
    assert unsafe_name(name) is None
    assert unsafe_name(f"{name}/") is None
    packed_files = files_of(packed([(f"{name}.txt", b""), ("cat/1.png", b"1")])).files
    assert [file.name for file in packed_files] == ["cat/1.png"]


@given(SAFE_NAMES, st.data())
def test_an_unsafe_name_refuses_the_whole_zip(name: str, data: st.DataObject) -> None:
    parts = name.split("/")
    place = data.draw(st.integers(1, len(parts)))
    unsafe = data.draw(
        st.sampled_from(
            [
                f"/{name}",
                f"//{name}",
                f"C:{name}",
                f"c:/{name}",
                f"\\\\server\\{name}",
                "/".join([*parts[:place], "..", *parts[place:]]),
                "/".join([*parts[:place], "", *parts[place:], "x.png"]),
                "/".join([*parts[:place], ".", *parts[place:]]),
                "\\".join([*parts, "..", "x.png"]),
                f"{name}\0.png",
            ]
        )
    )
    with pytest.raises(InvalidInput, match="a zip must have no member with") as caught:
        files_of(packed_as(unsafe))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("/etc/x.png", "an absolute path"),
        ("a/../../x.png", "'..' in its path"),
        ("..", "'..' in its path"),
        ("C:/x.png", "a drive letter"),
        ("a//b.png", "an empty part"),
        ("a/./b.png", "an empty part"),
        ("", "an empty part"),
        ("a\0.png", "a null byte"),
    ],
)
def test_what_is_unsafe_about_a_name_is_reported(name: str, fault: str) -> None:
    assert unsafe_name(name) == fault


def special(kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("cat/2.png")
    member.external_attr = (kind | 0o644) << 16
    return member


@pytest.mark.parametrize("kind", [0o120000, 0o020000, 0o010000, 0o140000])
def test_links_and_devices_refuse_the_zip(kind: int) -> None:
    regular = packed([("cat/1.png", b"1"), (special(0o100000), b"1")])
    assert len(files_of(regular).files) == 2
    with pytest.raises(InvalidInput, match=r"a link or device, got 'cat/2.png'"):
        files_of(packed([("cat/1.png", b"1"), (special(kind), b"/etc/passwd")]))


def test_a_duplicate_name_refuses_the_zip() -> None:
    with pytest.raises(InvalidInput, match=r"a duplicate name, got 'cat/1.png'"):
        files_of(packed([("cat/1.png", b"1"), ("cat/1.png", b"2")]))


def test_a_password_refuses_the_zip() -> None:
    stream = packed([("cat/1.png", b"1")])
    content = bytearray(stream.getvalue())
    content[content.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(InvalidInput, match="a password"):
        files_of(BytesIO(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_bounded_compression_is_accepted(method: int) -> None:
    with pytest.raises(InvalidInput, match="a compression other than deflate"):
        files_of(packed([("cat/1.png", picture())], method))


def test_a_bomb_is_refused_by_its_ratio() -> None:
    assert limits.LARGEST_RATIO > 100
    most = limits.SMALL_FILE_BYTES
    bomb = packed([("cat/1.bmp", bytes(most + 1))], zipfile.ZIP_DEFLATED)
    assert len(bomb.getvalue()) < 10_000
    with pytest.raises(InvalidInput, match=f"ratio above {limits.LARGEST_RATIO}"):
        files_of(bomb)
    blank = packed([("cat/1.bmp", bytes(most))], zipfile.ZIP_DEFLATED)
    assert len(files_of(blank).files) == 1


def test_of_members_that_are_never_read_only_names_matter() -> None:
    blank = packed([("cat/1.png", b"1"), ("README", bytes(20 * MIB))], zipfile.ZIP_DEFLATED)
    assert [file.name for file in files_of(blank).files] == ["cat/1.png"]
    rare = packed([("notes.txt", b"1" * 99)], zipfile.ZIP_BZIP2)
    assert files_of(rare).files == ()
    with pytest.raises(InvalidInput, match=r"'\.\.' in its path"):
        files_of(packed([("cat/1.png", b"1"), ("../README", b"")]))


@pytest.mark.parametrize("name", ["dog\\2.png", "./dog/2.png", "././dog\\2.png", ".\\dog\\2.png"])
def test_names_of_widespread_tools_are_read(name: str) -> None:
    source = files_of(packed_as(name))
    assert [file.name for file in source.files] == ["cat/1.png", "dog/2.png"]
    assert [source.read(file) for file in source.files] == [b"1", b"2"]


@pytest.mark.parametrize("folder", ["./", "dog\\", "./dog/", ".\\"])
def test_entries_of_folders_are_no_files(folder: str) -> None:
    source = files_of(packed_as(folder))
    assert [file.name for file in source.files] == ["cat/1.png"]
    assert not source.others.counts
    assert source.others.folders == ({"dog"} if "dog" in folder else set())


@pytest.mark.parametrize("name", ["cat\\1.png", "./cat/1.png"])
def test_a_duplicate_name_in_two_spellings_refuses_the_zip(name: str) -> None:
    with pytest.raises(InvalidInput, match="a duplicate name"):
        files_of(packed_as(name))


@pytest.mark.parametrize(
    ("limit", "enough", "most", "sentence"),
    [
        ("MOST_IMAGES", 3, 2, "at most 2 images"),
        ("MOST_ENTRIES", 4, 3, "at most 3 members, got 4"),
        ("LARGEST_FILE_BYTES", 100, 99, "files of at most 99.B, got 100.B in 'cat/0.png'"),
        ("LARGEST_TOTAL_BYTES", 300, 299, "at most 299.B uncompressed"),
        ("SMALL_FILE_BYTES", 100, 99, "ratio above 5"),
    ],
)
def test_limits_are_reported(
    limit: str, enough: int, most: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members: list[tuple[zipfile.ZipInfo | str, bytes]] = [
        (f"cat/{number}.png", bytes(100)) for number in range(3)
    ]
    stream = packed([*members, ("notes.txt", b"")], zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(limits, "LARGEST_RATIO", 5)
    monkeypatch.setattr(limits, limit, enough)
    assert len(files_of(stream).files) == 3
    monkeypatch.setattr(limits, limit, most)
    with pytest.raises(InvalidInput, match=sentence):
        files_of(stream)


def test_a_member_that_lies_about_its_size_is_cut_off_and_reported() -> None:
    """It declares 100 bytes and would inflate to 64 MiB."""
    stream = packed([("cat/1.png", bytes(64 * MIB))], zipfile.ZIP_DEFLATED)
    content = bytearray(stream.getvalue())
    struct.pack_into("<I", content, content.index(b"PK\3\4") + 22, 100)
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 100)
    source = files_of(BytesIO(content))
    tracemalloc.start()
    with pytest.raises(Unavailable, match=r"'cat/1.png' in .* is damaged"):
        source.read(source.files[0])
    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()


def test_nothing_is_written_to_disk(tmp_path: Path) -> None:
    source = ZipFiles(write_zip(tmp_path / "photos.zip", {"cat/1.png": b"1"}))
    assert source.read(source.files[0]) == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]


def test_threads_take_turns_to_open_and_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ZipFiles(write_zip(tmp_path / "photos.zip", {"cat/1.png": b"1"}))
    held: list[bool] = []

    class Watched(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            held.append(source._lock.locked())
            super().__init__(path)

        def open(self, *args: Any, **more: Any) -> Any:
            held.append(source._lock.locked())
            return super().open(*args, **more)

    monkeypatch.setattr(zips, "ZipFile", Watched)
    assert [source.read(source.files[0]) for _ in range(2)] == [b"1", b"1"]
    assert held == [True, True, True]


@pytest.mark.parametrize("content", [b"", b"no zip", picture(), b"PK\5\6" + bytes(10)])
def test_what_is_no_zip_is_reported(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=r"photos.zip is not a zip, or is damaged"):
        ZipFiles(path)


def test_a_zip_that_is_replaced_while_in_use_is_reported(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", {"cat/1.png": b"before", "cat/2.png": b"before"})
    source = ZipFiles(path)
    write_zip(path, {"cat/1.png": b"after!"})
    for file in source.files:
        with pytest.raises(Unavailable, match=f"{file.name!r} in .* changed while"):
            source.read(file)


WHOLE = packed(
    [("cat/1.png", picture()), ("dog/2.png", picture((1, 2, 3)))], zipfile.ZIP_DEFLATED
).getvalue()


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), st.integers(0, len(WHOLE)))
def test_any_damage_is_reported_in_one_sentence(place: int, change: int, length: int) -> None:
    """For any changed byte or truncation, reading succeeds or raises an error of ours."""
    content = bytearray(WHOLE)
    content[place] ^= change
    for damaged in (bytes(content), WHOLE[:length]):
        try:
            source = files_of(BytesIO(damaged))
            for file in source.files:
                source.read(file)
        except (InvalidInput, Unavailable):
            pass


@given(st.binary(max_size=200))
def test_noise_is_no_zip(content: bytes) -> None:
    assume(b"PK" not in content)
    with pytest.raises(Unavailable, match="is not a zip"):
        files_of(BytesIO(content))
