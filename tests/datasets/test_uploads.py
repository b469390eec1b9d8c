"""Uploaded zips: kept under their content, told in the visitor's words, never half."""

from __future__ import annotations

import io
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from asi_core.datasets import check_dataset, limits, load_dataset
from asi_core.datasets.uploads import (
    keep_upload,
    remove_older,
    remove_parts,
    remove_upload,
    uploads,
)
from asi_core.errors import InvalidInput, Unavailable
from asi_core.training.spec import RunSpec
from tests.datasets.pictures import both_splits, picture, write_zip


def packed(contents: dict[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    stream.seek(0)
    return stream


def left_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "uploads").iterdir())


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


def test_everybody_sees_their_own(home: Path) -> None:
    mine = keep_upload(packed(both_splits()), "a.zip", "me")
    newer = keep_upload(packed(both_splits(train=4)), "b.zip", "me")
    theirs = keep_upload(packed(both_splits(train=5)), "c.zip", "them")
    assert [card.name for card in uploads("me")] == [newer.name, mine.name]
    assert [card.name for card in uploads("them")] == [theirs.name]
    with pytest.raises(InvalidInput, match="only one's own uploads"):
        remove_upload(theirs.name, "me")
    remove_upload(mine.name, "me")
    assert [card.name for card in uploads("me")] == [newer.name]
    with pytest.raises(Unavailable, match="upload them again"):
        load_dataset(mine.name)


def test_old_uploads_go_unless_a_run_was_trained_on_them(home: Path) -> None:
    used, unused = (keep_upload(packed(both_splits(train=n)), "a.zip", "me") for n in (3, 4))
    by_hand = home / "uploads" / "by-hand-0123456789ab.zip"
    by_hand.write_bytes(packed(both_splits(train=5)).read())
    kept = [name for name in left_in(home) if unused.name.removeprefix("upload:") not in name]
    remove_older(time.time() - 60, {used.name})
    assert len(left_in(home)) == 5
    remove_older(time.time() + 60, {used.name})
    assert left_in(home) == kept


def test_what_an_interrupted_upload_left_goes(home: Path) -> None:
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
        ({"../cat/0.png": picture()}, "a step up"),
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
        ("ALL_UPLOADS_BYTES", 100, "all uploads together"),
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
