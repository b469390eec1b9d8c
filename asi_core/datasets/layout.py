"""From the names of image files to classes and splits."""

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
# Where classes lie if there are no splits.
_ON_TOP: tuple[str, ...] = ("",)

_MORE_IMAGES = "give a class a second image, which is then kept for testing"
_TEST_FOLDER = (
    "add test/<class>/ or val/<class>/, or take the classes out of their folder: a fifth of each "
    "is then kept for testing"
)

# One image in five is for testing where a folder does not say which are.
_TEST_EVERY = 5


class Example(NamedTuple):
    """An image file and the index of its class."""

    file: ImageFile
    label: int


class Layout(NamedTuple):
    """Which images are trained and tested on. Classes are sorted by name, images too.

    Attributes:
        remarks: sentences about what is there and not used.
    """

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    remarks: tuple[str, ...] = ()

    def without(self, names: Collection[str], where: str) -> Layout:
        """The same classes and splits, without some files.

        Raises:
            InvalidInput: if a class then has no image to train on, or there is none to test on.
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
                "every class must have an image that can be read, and there must be one to test on",
                f"none of class {lost[0]!r} in {where}" if lost else f"none to test on in {where}",
                "restore the damaged ones",
            )
        return self._replace(train=train, test=test)


def find_layout(files: Sequence[ImageFile], where: str, others: Others | None = None) -> Layout:
    """Tell classes and splits from the names.

    `train/<class>/` or `training/<class>/`, and one of `test/`, `testing/`, `val/`, `valid/`,
    `validation/` (the first that has classes; what lies elsewhere is left aside), in any case of
    letters; or `<class>/` alone, split by `_own_split`. Both may lie in a folder that holds
    everything, and that one in another. Images that lie in no class folder are left aside. Names
    that Unicode holds for the same are the same.

    Args:
        where: the folder or zip, for errors.
        others: what lies beside the images.

    Raises:
        InvalidInput: if there are no images, classes or splits to be told, an image lies deeper
            than in its class's folder, a class is tested but not trained, or a folder beside the
            classes has files of which none can be read.
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
    """Parts of a name, in one of the ways in which Unicode may write them: macOS writes others."""
    return tuple(unicodedata.normalize("NFC", name).split("/"))


def _below_wrappers(found: Found) -> Found:
    """What is inside of the folders that hold everything, if there are any."""
    while True:
        tops = {leaf.parts[0] for leaf in found.leaves if len(leaf.parts) > 1}
        deep = any(len(leaf.parts) > 2 for leaf in found.leaves)
        if len(tops) != 1 or not deep or _tops(found.leaves) & set(_SPLITS):
            return found
        found = found.inside(tops.pop())


def _has_split_folders(leaves: Iterable[Leaf]) -> bool:
    """Whether the folders on top are splits. `train` alone, without folders inside, is a class."""
    tops = _tops(leaves)
    if tops & set(_TRAIN) and tops & set(_TEST):
        return True
    return bool(_tops(leaf for leaf in leaves if len(leaf.parts) > 2) & set(_SPLITS))


def _tops(leaves: Iterable[Leaf]) -> set[str]:
    return {leaf.parts[0].lower() for leaf in leaves if len(leaf.parts) > 1}


def _split_folder(leaves: Sequence[Leaf], names: Sequence[str]) -> str:
    """The first of the names that has classes, or else that is there."""
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
    """The leaves at class/image. Deeper ones are refused: their class would be a guess."""
    for leaf in leaves:
        if len(leaf.parts) > 2:
            raise InvalidInput(
                "images must lie right in the folder of their class",
                repr(leaf.file.name),
                "lay them out as train/<class>/ and test/<class>/, or as <class>/ alone",
            )
    return [leaf for leaf in leaves if len(leaf.parts) == 2]


def _own_split(leaves: Iterable[Leaf]) -> tuple[list[Leaf], list[Leaf]]:
    """80 % of each class to train on and 20 % to test on, the same at every time and place.

    A class's images are ordered by the SHA-256 of `<class>/<image>`, and the first fifth of them,
    rounded down but at least one of two, is tested on. A class's only image is trained on.
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
    # File systems may hold names that are no UTF-8.
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
            "every class that is tested must be trained",
            f"{min(tested - trained)!r} for testing alone in {where}",
            "add its training images or remove it",
        )


def _labelled(leaves: Iterable[Leaf], classes: Sequence[str]) -> tuple[Example, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(sorted(Example(leaf.file, labels[leaf.parts[0]]) for leaf in leaves))
