"""From the names of image files to classes and splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from asi_core.datasets.files import SUFFIXES, ImageFile
from asi_core.errors import InvalidInput

_TRAIN = "train"
_TEST = ("test", "val", "valid", "validation")
_AS_IT_MUST_BE = "lay them out as train/<class>/ and test/<class>/, or as <class>/ alone"

# One image in five is for testing where a folder does not say which are.
_TEST_EVERY = 5


class Example(NamedTuple):
    """An image file and the index of its class."""

    file: ImageFile
    label: int


class Layout(NamedTuple):
    """Which images are trained and tested on. Classes are sorted by name, images too."""

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]


class _Leaf(NamedTuple):
    """An image file at `parts` of its name, below the folders that have been looked through."""

    parts: tuple[str, ...]
    file: ImageFile


def find_layout(files: Sequence[ImageFile], where: Path) -> Layout:
    """Tell classes and splits from the names.

    `train/<class>/` and one of `test/`, `val/`, `valid/`, `validation/` (the first that is there;
    what lies elsewhere is left aside), in any case of letters; or `<class>/` alone, split by
    `_own_split`. Both may lie in one folder that holds everything. Images that lie in no class
    folder are left aside.

    Args:
        where: the folder or zip, for errors.

    Raises:
        InvalidInput: if there are no images, classes or splits to be told, an image lies deeper
            than in its class's folder, or a class is tested but not trained.
    """
    leaves = _below_wrapper([_Leaf(tuple(file.name.split("/")), file) for file in files])
    if _has_split_folders(leaves):
        tops = _tops(leaves)
        test_folder = next((name for name in _TEST if name in tops), _TEST[0])
        train, test = (_in_classes(_inside(leaves, name)) for name in (_TRAIN, test_folder))
    else:
        train, test = _own_split(_in_classes(leaves))
    _check(train, test, where)
    classes = tuple(sorted({leaf.parts[0] for leaf in train}))
    return Layout(classes, _labelled(train, classes), _labelled(test, classes))


def _below_wrapper(leaves: list[_Leaf]) -> list[_Leaf]:
    """The leaves inside the one folder that holds everything, if there is one."""
    tops = {leaf.parts[0] for leaf in leaves if len(leaf.parts) > 1}
    deep = any(len(leaf.parts) > 2 for leaf in leaves)
    if len(tops) != 1 or not deep or _tops(leaves) & {_TRAIN, *_TEST}:
        return leaves
    return [leaf._replace(parts=leaf.parts[1:]) for leaf in leaves if len(leaf.parts) > 1]


def _has_split_folders(leaves: Iterable[_Leaf]) -> bool:
    """Whether the folders on top are splits. `train` alone, without folders inside, is a class."""
    tops = _tops(leaves)
    if _TRAIN in tops and tops & set(_TEST):
        return True
    deep = (leaf.parts[0].lower() for leaf in leaves if len(leaf.parts) > 2)
    return any(top in (_TRAIN, *_TEST) for top in deep)


def _tops(leaves: Iterable[_Leaf]) -> set[str]:
    return {leaf.parts[0].lower() for leaf in leaves if len(leaf.parts) > 1}


def _inside(leaves: Iterable[_Leaf], top: str) -> list[_Leaf]:
    return [
        leaf._replace(parts=leaf.parts[1:])
        for leaf in leaves
        if len(leaf.parts) > 1 and leaf.parts[0].lower() == top
    ]


def _in_classes(leaves: Iterable[_Leaf]) -> list[_Leaf]:
    """The leaves at class/image. Deeper ones are refused: their class would be a guess."""
    for leaf in leaves:
        if len(leaf.parts) > 2:
            raise InvalidInput(
                "images must lie right in the folder of their class",
                repr(leaf.file.name),
                _AS_IT_MUST_BE,
            )
    return [leaf for leaf in leaves if len(leaf.parts) == 2]


def _own_split(leaves: Iterable[_Leaf]) -> tuple[list[_Leaf], list[_Leaf]]:
    """80 % of each class to train on and 20 % to test on, the same at every time and place.

    A class's images are ordered by the SHA-256 of `<class>/<image>`, and the first fifth of them,
    rounded down but at least one of two, is tested on. A class's only image is trained on.
    """
    by_class: defaultdict[str, list[_Leaf]] = defaultdict(list)
    for leaf in leaves:
        by_class[leaf.parts[0]].append(leaf)
    train: list[_Leaf] = []
    test: list[_Leaf] = []
    for members in by_class.values():
        members.sort(key=_place_in_line)
        count = max(len(members) // _TEST_EVERY, min(len(members) - 1, 1))
        test += members[:count]
        train += members[count:]
    return train, test


def _place_in_line(leaf: _Leaf) -> bytes:
    # File systems may hold names that are no UTF-8.
    return hashlib.sha256("/".join(leaf.parts).encode(errors="surrogateescape")).digest()


def _check(train: Sequence[_Leaf], test: Sequence[_Leaf], where: Path) -> None:
    trained, tested = ({leaf.parts[0] for leaf in leaves} for leaves in (train, test))
    _check_some(trained, "train", where)
    if len(trained) < 2:
        raise InvalidInput(
            "a data set must have at least 2 classes",
            f"only {min(trained)!r} in {where}",
            _AS_IT_MUST_BE,
        )
    _check_some(tested, "test", where)
    if tested - trained:
        raise InvalidInput(
            "every class that is tested must be trained",
            f"{min(tested - trained)!r} for testing alone in {where}",
            "add its training images or remove it",
        )


def _check_some(classes: set[str], purpose: str, where: Path) -> None:
    if not classes:
        suffixes = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise InvalidInput(
            f"a data set must have images ({suffixes}) to {purpose} on",
            f"none in {where}",
            _AS_IT_MUST_BE,
        )


def _labelled(leaves: Iterable[_Leaf], classes: Sequence[str]) -> tuple[Example, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(sorted(Example(leaf.file, labels[leaf.parts[0]]) for leaf in leaves))
