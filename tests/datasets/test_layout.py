from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.datasets.files import ImageFile
from asi_core.datasets.layout import Example, Layout, find_layout
from asi_core.errors import InvalidInput

WHERE = Path("photos")


def layout(*names: str) -> Layout:
    return find_layout([ImageFile(name, 1, 1) for name in names], WHERE)


def placed(examples: tuple[Example, ...]) -> list[tuple[str, int]]:
    return [(example.file.name, example.label) for example in examples]


def plain(**counts: int) -> list[str]:
    return [f"{name}/{number}.png" for name, count in counts.items() for number in range(count)]


@pytest.mark.parametrize("wrapper", ["", "photos/"])
@pytest.mark.parametrize("test", ["test", "val", "valid", "validation", "Test", "VAL"])
def test_given_splits_are_kept(wrapper: str, test: str) -> None:
    train = [f"{wrapper}train/{name}.jpg" for name in ("dog/2", "cat/9", "dog/1")]
    found = layout(*train, f"{wrapper}{test}/dog/3.jpg")
    assert found.classes == ("cat", "dog")
    assert placed(found.train) == [(train[1], 0), (train[2], 1), (train[0], 1)]
    assert placed(found.test) == [(f"{wrapper}{test}/dog/3.jpg", 1)]


def test_test_comes_before_val_and_the_rest_is_ignored() -> None:
    found = layout(
        *("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "val/dog/3.jpg"),
        *("unlabelled/x/4.jpg", "preview.png", "train/contact_sheet.png"),
    )
    assert placed(found.test) == [("test/cat/2.jpg", 0)]
    assert len(found.train) == 2


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 23), min_size=2))
def test_the_default_split_is_four_to_one_in_each_class(counts: dict[str, int]) -> None:
    found = layout(*plain(**counts))
    assert found.classes == tuple(sorted(counts))
    tested = Counter(example.label for example in found.test)
    for label, name in enumerate(found.classes):
        assert tested[label] == max(1, counts[name] // 5)
    everything = sorted(example.file.name for example in (*found.train, *found.test))
    assert everything == sorted(plain(**counts))


def test_the_default_split_is_the_same_everywhere() -> None:
    """In any order, wrapper and with other classes; and these very images, on every machine."""
    names = plain(cat=10, dog=10)
    found = layout(*names)
    assert layout(*reversed(names)) == found
    wrapped = layout(*(f"photos/{name}" for name in names))
    assert [f"photos/{name}" for name, _ in placed(found.test)] == [
        name for name, _ in placed(wrapped.test)
    ]
    more = layout(*names, *plain(ant=7))
    assert {name for name, _ in placed(found.test)} < {name for name, _ in placed(more.test)}
    assert [name for name, _ in placed(found.test)] == FIRST_BY_SHA256


# printf cat/0.png | sha256sum, and so on: the two smallest of each class.
FIRST_BY_SHA256 = ["cat/0.png", "cat/8.png", "dog/5.png", "dog/7.png"]


def test_a_class_with_one_image_is_trained_on() -> None:
    found = layout("ant/1.png", *plain(cat=5))
    assert ("ant/1.png", 0) in placed(found.train)
    assert [label for _, label in placed(found.test)] == [1]


def test_a_class_may_be_called_train() -> None:
    found = layout(*plain(train=5, bus=5))
    assert found.classes == ("bus", "train")
    assert len(found.test) == 2


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "to train on, got none in photos: lay them out as train/<class>/"),
        (["1.png", "2.png"], "to train on, got none"),
        (["cat/1.png", "cat/2.png"], "at least 2 classes, got only 'cat'"),
        (["photos/cat/1.png", "photos/cat/2.png"], "at least 2 classes, got only 'cat'"),
        (["train/cat/1.png", "test/cat/2.png"], "at least 2 classes, got only 'cat'"),
        (["cat/1.png", "dog/2.png"], "to test on, got none"),
        (["train/cat/1.png", "train/dog/1.png"], "to test on, got none"),
        (["test/cat/1.png", "test/dog/1.png"], "to train on, got none"),
        (["train/1.png", "test/2.png"], "to train on, got none"),
        (
            ["train/cat/1.png", "train/dog/1.png", "test/emu/1.png"],
            "every class with test images must have training images, got 'emu'",
        ),
        (
            ["train/cat/a/1.png", "train/dog/1.png", "test/cat/1.png"],
            "directly in the folder of their class, got 'train/cat/a/1.png'",
        ),
        (
            ["photos/train/cat/1.png", "docs/1.png"],
            "directly in the folder of their class, got 'photos/train/cat/1.png'",
        ),
    ],
)
def test_what_is_no_layout_is_reported(names: list[str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        layout(*names)
