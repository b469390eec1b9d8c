"""Classes and splits from the names of image files."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from asi_core.datasets.files import ImageFile
from asi_core.datasets.findings import Beside, Found, Leaf, remarks_on, unread_classes
from asi_core.datasets.others import Others
from asi_core.errors import InvalidInput

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_SPLITS = (*_TRAIN, *_TEST)
# The place of classes without split folders.
_ON_TOP: tuple[str, ...] = ("",)

_MORE_IMAGES = "add a second image to a class, which is then used for testing"
_TEST_FOLDER = (
    "add test/<class>/ or val/<class>/, or move the classes out of their folder: a fifth of each "
    "is then used for testing"
)

# One image in five is used for testing if a folder has no split.
_TEST_EVERY = 5


class Example(NamedTuple):
    """An image file and the index of its class."""

    file: ImageFile
    label: int


class Layout(NamedTuple):
    """Training and test images. Classes and images are sorted by name.

    Attributes:
        remarks: sentences about files that are not used.
    """

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    remarks: tuple[str, ...] = ()

    def without(self, names: Collection[str], where: str) -> Layout:
        """The same classes and splits, without some files.

        Raises:
            InvalidInput: if a class then has no training image, or no test image is left.
        """
        if not names:
            return self
        train, test = (
            tuple(example for example in split if example.file.name not in names)
            for split in (self.train, self.test)
        )
        left = {example.label for example in train}
        lost = [name for label, name in enumerate(self.classes) if label not in left]
        if lost or not test:
            raise InvalidInput(
                "every class must have a readable image, and there must be one to test on",
                f"none of class {lost[0]!r} in {where}" if lost else f"none to test on in {where}",
                "restore the damaged ones",
            )
        return self._replace(train=train, test=test)


def find_layout(files: Sequence[ImageFile], where: str, others: Others | None = None) -> Layout:
    """Find classes and splits from file names.

    `train/<class>/` or `training/<class>/`, and one of `test/`, `testing/`, `val/`, `valid/`,
    `validation/` (the first that has classes; the others are ignored), in any case; or only
    `<class>/`, split by `_own_split`. Up to two folders may wrap them. Images outside of class
    folders are ignored. Names are compared after Unicode normalisation.

    Args:
        where: the folder or zip, for errors.
        others: the other files.

    Raises:
        InvalidInput: if there are no images, classes or splits, an image lies deeper than in its
            class folder, a class has test but no training images, or a folder beside the classes
            has only unreadable files.
    """
    found = _below_wrappers(_found(files, others or Others()))
    sections = _ON_TOP
    if _has_split_folders(found.leaves):
        sections = tuple(_split_folder(found.leaves, names) for names in (_TRAIN, _TEST))
        train, test = (_in_classes(_inside(found.leaves, name)) for name in sections)
    else:
        train, test = _own_split(_in_classes(found.leaves))
    _check(train, test, found, sections, where)
    classes = tuple(sorted({leaf.parts[0] for leaf in train}))
    remarks = remarks_on(found, {leaf.file.name for leaf in (*train, *test)}, sections)
    return Layout(classes, _labelled(train, classes), _labelled(test, classes), remarks)


def _found(files: Sequence[ImageFile], others: Others) -> Found:
    leaves = [Leaf(_parts(file.name), file) for file in files]
    beside = [
        Beside(_parts(kind.folder) if kind.folder else (), kind.suffix, count, others.firsts[kind])
        for kind, count in others.counts.items()
    ]
    return Found(leaves, beside, {_parts(name) for name in others.folders})


def _parts(name: str) -> tuple[str, ...]:
    """Parts of a name after Unicode normalisation: macOS uses another form."""
    return tuple(unicodedata.normalize("NFC", name).split("/"))


def _below_wrappers(found: Found) -> Found:
    """The contents below folders that wrap everything, if there are any."""
    while True:
        tops = {leaf.parts[0] for leaf in found.leaves if len(leaf.parts) > 1}
        deep = any(len(leaf.parts) > 2 for leaf in found.leaves)
        if len(tops) != 1 or not deep or _tops(found.leaves) & set(_SPLITS):
            return found
        found = found.inside(tops.pop())


def _has_split_folders(leaves: Iterable[Leaf]) -> bool:
    """Whether top-level folders are splits. `train` alone, without subfolders, is a class."""
    tops = _tops(leaves)
    if tops & set(_TRAIN) and tops & set(_TEST):
        return True
    return bool(_tops(leaf for leaf in leaves if len(leaf.parts) > 2) & set(_SPLITS))


def _tops(leaves: Iterable[Leaf]) -> set[str]:
    return {leaf.parts[0].lower() for leaf in leaves if len(leaf.parts) > 1}


def _split_folder(leaves: Sequence[Leaf], names: Sequence[str]) -> str:
    """The first of the names that has classes, or else the first that exists."""
    with_classes = _tops(leaf for leaf in leaves if len(leaf.parts) > 2)
    order = (*(name for name in names if name in with_classes), *names)
    return next((name for name in order if name in _tops(leaves)), names[0])


def _inside(leaves: Iterable[Leaf], top: str) -> list[Leaf]:
    return [
        leaf._replace(parts=leaf.parts[1:])
        for leaf in leaves
        if len(leaf.parts) > 1 and leaf.parts[0].lower() == top
    ]


def _in_classes(leaves: Iterable[Leaf]) -> list[Leaf]:
    """The leaves at class/image. Deeper ones are an error: their class would be ambiguous."""
    for leaf in leaves:
        if len(leaf.parts) > 2:
            raise InvalidInput(
                "images must lie directly in the folder of their class",
                repr(leaf.file.name),
                "lay them out as train/<class>/ and test/<class>/, or as <class>/ alone",
            )
    return [leaf for leaf in leaves if len(leaf.parts) == 2]


def _own_split(leaves: Iterable[Leaf]) -> tuple[list[Leaf], list[Leaf]]:
    """A reproducible split: 80 % of each class for training, 20 % for testing.

    A class's images are sorted by the SHA-256 of `<class>/<image>`. The first fifth, rounded down
    but at least one if there are two, is for testing. A class's only image is for training.
    """
    by_class: defaultdict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        by_class[leaf.parts[0]].append(leaf)
    train: list[Leaf] = []
    test: list[Leaf] = []
    for members in by_class.values():
        members.sort(key=_place_in_line)
        count = max(len(members) // _TEST_EVERY, min(len(members) - 1, 1))
        test += members[:count]
        train += members[count:]
    return train, test


def _place_in_line(leaf: Leaf) -> tuple[bytes, ImageFile]:
    # File names may contain bytes that are not valid UTF-8.
    name = "/".join(leaf.parts).encode(errors="surrogateescape")
    return hashlib.sha256(name).digest(), leaf.file


def _check(
    train: Sequence[Leaf], test: Sequence[Leaf], found: Found, sections: Sequence[str], where: str
) -> None:
    trained, tested = ({leaf.parts[0] for leaf in leaves} for leaves in (train, test))
    if not trained:
        raise found.refusal("train", where, found.way_out)
    if unread := unread_classes(found, sections):
        raise unread[0].refusal(where, len(unread) - 1)
    if len(trained) < 2:
        raise InvalidInput(
            "a data set must have at least 2 classes",
            f"only {min(trained)!r} in {where}",
            found.way_out,
        )
    if not tested:
        raise found.refusal("test", where, _MORE_IMAGES if sections == _ON_TOP else _TEST_FOLDER)
    if tested - trained:
        raise InvalidInput(
            "every class with test images must have training images",
            f"{min(tested - trained)!r} with test images only in {where}",
            "add its training images or remove it",
        )


def _labelled(leaves: Iterable[Leaf], classes: Sequence[str]) -> tuple[Example, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(sorted(Example(leaf.file, labels[leaf.parts[0]]) for leaf in leaves))
