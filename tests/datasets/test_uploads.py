"""Uploaded zips: kept under their content, reported by the visitor's file names, never partial."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from asi_core.datasets import check_dataset, imagefolder, limits, load_dataset
from asi_core.datasets.uploads import (
    keep_upload,
    remove_older,
    remove_parts,
    remove_upload,
    uploads,
)
from asi_core.datasets.zips import ZipFiles
from asi_core.errors import InvalidInput, Unavailable
from asi_core.training.spec import RunSpec
from tests.datasets.pictures import both_splits, picture, write_zip, zip_bytes


def packed(contents: dict[str, bytes]) -> io.BytesIO:
    return io.BytesIO(zip_bytes(contents))


def left_in(home: Path) -> list[str]:
    names = (path.name for path in (home / "uploads").iterdir())
    return sorted(name for name in names if name != ".lock")


def test_what_is_kept_is_what_was_uploaded(home: Path) -> None:
    card = keep_upload(packed(both_splits(train=3, test=2)), "Été à la plage.zip", "me")
    assert card.name.startswith("upload:ete-a-la-plage-")
    assert (card.classes, card.train_count, card.test_count) == (("cat", "dog"), 6, 4)
    data = load_dataset(card.name)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    known = check_dataset(card.name)
    assert known.damage is not None
    assert not known.damage.damaged
    assert replace(known, damage=None) == card
    assert RunSpec.model_validate({"method": {"kind": "vanilla"}, "dataset": card.name})
    stem = card.name.removeprefix("upload:")
    assert left_in(home) == [f"{stem}.json", f"{stem}.zip"]


def test_the_same_content_is_kept_once_under_its_first_name(home: Path) -> None:
    first = keep_upload(packed(both_splits()), "a.zip", "me")
    again = keep_upload(packed(both_splits()), "b.zip", "somebody else")
    assert first.name == again.name
    assert len(left_in(home)) == 2
    other = keep_upload(packed(both_splits(train=4)), "a.zip", "me")
    assert other.name != first.name
    assert other.title != first.title


def test_the_same_zip_belongs_to_all_its_uploaders(home: Path) -> None:
    mine = keep_upload(packed(both_splits()), "mine.zip", "me")
    theirs = keep_upload(packed(both_splits()), "theirs.zip", "them")
    assert mine.name == theirs.name
    assert theirs.title.startswith("theirs (")
    for owner, title in (("me", mine.title), ("them", theirs.title)):
        assert [(card.name, card.title) for card in uploads(owner)] == [(mine.name, title)]
    remove_upload(mine.name, "me")
    assert uploads("me") == []
    assert [card.name for card in uploads("them")] == [mine.name]
    assert load_dataset(mine.name).classes == ("cat", "dog")
    with pytest.raises(InvalidInput, match="only your own uploads"):
        remove_upload(mine.name, "me")
    remove_upload(mine.name, "them")
    assert left_in(home) == []


def test_many_who_upload_the_same_at_once_all_have_it(home: Path) -> None:
    owners = [f"visitor {number}" for number in range(12)]
    content = both_splits()

    def keep(owner: str) -> str:
        return keep_upload(packed(content), f"{owner}.zip", owner).name

    with ThreadPoolExecutor(len(owners)) as threads:
        names = set(threads.map(keep, owners))
    assert len(names) == 1
    assert all([card.name for card in uploads(owner)] == [*names] for owner in owners)


def test_an_upload_of_a_version_with_one_owner_is_still_theirs(home: Path) -> None:
    card = keep_upload(packed(both_splits()), "a.zip", "me")
    beside = home / "uploads" / f"{card.name.removeprefix('upload:')}.json"
    beside.write_text('{"owner": "me", "file_name": "a.zip", "created_at": 5.0}')
    assert [known.name for known in uploads("me")] == [card.name]
    keep_upload(packed(both_splits()), "b.zip", "them")
    assert [known.name for known in uploads("me")] == [card.name]
    remove_older(6.0, set())
    assert uploads("me") == []
    assert [known.name for known in uploads("them")] == [card.name]


def test_what_was_put_there_by_hand_outlives_its_owners(home: Path) -> None:
    content = packed(both_splits()).read()
    digest = hashlib.sha256(content).hexdigest()
    by_hand = home / "uploads" / f"by-hand-{digest[:12]}.zip"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(content)
    card = keep_upload(io.BytesIO(content), "a.zip", "me")
    assert card.name == f"upload:{by_hand.stem}"
    assert [known.name for known in uploads("me")] == [card.name]
    remove_upload(card.name, "me")
    assert uploads("me") == []
    assert left_in(home) == [by_hand.name]


def test_another_content_under_the_same_name_is_refused(home: Path) -> None:
    card = keep_upload(packed(both_splits()), "a.zip", "me")
    kept = home / "uploads" / f"{card.name.removeprefix('upload:')}.zip"
    kept.write_bytes(packed(both_splits(train=4)).read())
    with pytest.raises(InvalidInput, match="first 12 digits"):
        keep_upload(packed(both_splits()), "a.zip", "them")
    assert uploads("them") == []


def test_a_zip_of_very_many_empty_members_is_refused_before_they_are_listed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(limits.MOST_UPLOAD_MEMBERS + 1):
            archive.writestr(zipfile.ZipInfo(f"{number % 2}/{number}.png"), b"")
    stream.seek(0)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_, **__: pytest.fail("was opened"))
    with pytest.raises(InvalidInput, match="at most 50000 members"):
        keep_upload(stream, "empty.zip", "me")
    assert left_in(home) == []


@pytest.mark.parametrize("first_chunk", range(1, 12))
def test_members_are_counted_across_chunks(
    home: Path, monkeypatch: pytest.MonkeyPatch, first_chunk: int
) -> None:
    class InPieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(first_chunk)

    monkeypatch.setattr(limits, "MOST_UPLOAD_MEMBERS", 5)
    directory = b"PK\x01\x02" * 6
    with pytest.raises(InvalidInput, match="at most 5 members"):
        keep_upload(InPieces(directory), "a.zip", "me")
    with pytest.raises(Unavailable, match="is not a zip"):
        keep_upload(InPieces(directory[4:]), "a.zip", "me")


def test_a_zip_is_read_once_for_many_requests(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = keep_upload(packed(both_splits()), "a.zip", "me")
    first = load_dataset(card.name)
    again = "looked through again"
    monkeypatch.setattr(ZipFiles, "__init__", lambda self, *given: pytest.fail(again))
    monkeypatch.setattr(imagefolder, "find_layout", lambda *given: pytest.fail(again))
    assert check_dataset(card.name).classes == first.classes
    assert load_dataset(card.name).fingerprint == first.fingerprint


def test_quotas_hold_for_a_network_under_several_names(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NETWORK_UPLOADS", limits.Total(2, limits.GIB))
    for number in (3, 4):
        keep_upload(packed(both_splits(train=number)), "a.zip", f"name {number}", "here")
    third = both_splits(train=5)
    with pytest.raises(InvalidInput, match="all uploads from one network address"):
        keep_upload(packed(third), "a.zip", "name 5", "here")
    keep_upload(packed(third), "a.zip", "name 5", "elsewhere")
    keep_upload(packed(third), "a.zip", "name 6", None)


def test_owners_see_only_their_uploads(home: Path) -> None:
    mine = keep_upload(packed(both_splits()), "a.zip", "me")
    newer = keep_upload(packed(both_splits(train=4)), "b.zip", "me")
    theirs = keep_upload(packed(both_splits(train=5)), "c.zip", "them")
    assert [card.name for card in uploads("me")] == [newer.name, mine.name]
    assert [card.name for card in uploads("them")] == [theirs.name]
    with pytest.raises(InvalidInput, match="only your own uploads"):
        remove_upload(theirs.name, "me")
    remove_upload(mine.name, "me")
    assert [card.name for card in uploads("me")] == [newer.name]
    with pytest.raises(Unavailable, match="upload them again"):
        load_dataset(mine.name)


def test_old_uploads_are_removed_unless_a_run_was_trained_on_them(home: Path) -> None:
    used, unused = (keep_upload(packed(both_splits(train=n)), "a.zip", "me") for n in (3, 4))
    by_hand = home / "uploads" / "by-hand-0123456789ab.zip"
    by_hand.write_bytes(packed(both_splits(train=5)).read())
    kept = [name for name in left_in(home) if unused.name.removeprefix("upload:") not in name]
    remove_older(time.time() - 60, {used.name})
    assert len(left_in(home)) == 5
    remove_older(time.time() + 60, {used.name})
    assert left_in(home) == kept


def test_remains_of_an_interrupted_upload_are_removed(home: Path) -> None:
    keep_upload(packed(both_splits()), "a.zip", "me")
    kept = left_in(home)
    (home / "uploads" / "tmp123.part").touch()
    remove_parts(time.time() - 60)
    assert len(left_in(home)) == 3
    remove_parts(time.time() + 60)
    assert left_in(home) == kept


@pytest.mark.parametrize(
    ("contents", "rule"),
    [
        ({"../cat/0.png": picture()}, "'..' in its path"),
        ({"cat/0.png": picture(), "cat/1.png": picture()}, "at least 2 classes"),
        ({"notes.txt": b"no image"}, "must have images"),
    ],
)
def test_a_wrong_zip_is_refused_by_its_own_name_and_leaves_nothing(
    home: Path, contents: dict[str, bytes], rule: str
) -> None:
    with pytest.raises(InvalidInput, match=rule) as refused:
        keep_upload(packed(contents), "folder/holiday.zip", "me")
    assert "holiday.zip" in str(refused.value)
    assert str(home) not in str(refused.value)
    assert left_in(home) == []


def test_what_is_no_zip_is_refused(home: Path) -> None:
    with pytest.raises(Unavailable, match=r"note\.zip is not a zip"):
        keep_upload(io.BytesIO(b"hello"), "note.zip", "me")
    assert left_in(home) == []


def test_too_much_is_refused_before_it_fills_the_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_upload(packed(both_splits()), "a.zip", "me")
    second = packed(both_splits(train=4))
    for limit, value, rule in (
        ("LARGEST_UPLOAD_BYTES", 1000, "an uploaded zip must have at most"),
        ("MOST_UPLOADS", 1, "at most 1 uploads"),
        ("ALL_UPLOADS", limits.Total(9, 100), "all uploads together"),
    ):
        second.seek(0)
        with monkeypatch.context() as lowered:
            lowered.setattr(limits, limit, value)
            with pytest.raises(InvalidInput, match=rule):
                keep_upload(second, "b.zip", "me")
    assert len(left_in(home)) == 2


@pytest.mark.parametrize("name", ["", "../secret-0123456789ab", "a-0123456789ab/..", "a", "A-0"])
def test_a_name_that_no_upload_has_is_refused(name: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "secret-0123456789ab.zip", both_splits())
    with pytest.raises(InvalidInput, match="the name of an upload"):
        load_dataset(f"upload:{name}")
