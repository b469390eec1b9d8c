"""The contents of a folder or zip in words: for errors, and for remarks on unused files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asi_core.datasets.files import ImageFile
from asi_core.datasets.formats import (
    NAMES,
    is_archive,
    is_document,
    is_picture,
    is_table,
    needs_heif_reader,
)
from asi_core.datasets.others import of_endings
from asi_core.errors import InvalidInput

_MOST_NAMED = 5
_PLAIN_WAY = "lay them out as train/<class>/ and test/<class>/, or as <class>/ alone"


class Leaf(NamedTuple):
    """An image file; `parts` are those of its name below the wrapping folders."""

    parts: tuple[str, ...]
    file: ImageFile


class Beside(NamedTuple):
    """Files that are not images, with one file extension in one folder.

    Attributes:
        first: the name of the first of them.
    """

    parts: tuple[str, ...]
    suffix: str
    number: int
    first: str


@dataclass(frozen=True, slots=True)
class UnreadClass:
    """A class folder with files, none of which can be read."""

    name: str
    kinds: tuple[Beside, ...]

    def refusal(self, where: str, more: int) -> InvalidInput:
        """The error that names it, and the number of other such folders."""
        endings = of_endings((kind.suffix, kind.number) for kind in self.kinds)
        besides = f", and {more} more such folders" if more else ""
        heif = any(needs_heif_reader(kind.suffix) for kind in self.kinds)
        return InvalidInput(
            f"every class must have images that can be read ({NAMES})",
            f"none in folder {self.name!r} of {where} ({endings}{besides})",
            "install the extra `heic` (pillow-heif), or save them as JPEG"
            if heif
            else "save them as PNG or JPEG, or remove the folder",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """All files below the wrapping folders.

    Attributes:
        others: files that are not images, without junk.
        folders: all folders, including empty ones.
    """

    leaves: list[Leaf]
    others: list[Beside]
    folders: set[tuple[str, ...]]

    def inside(self, top: str) -> Found:
        """The contents of one top-level folder, and files beside it that are not documents."""
        return Found(
            [
                leaf._replace(parts=leaf.parts[1:]) if len(leaf.parts) > 1 else leaf
                for leaf in self.leaves
            ],
            [
                kind._replace(parts=kind.parts[1:]) if kind.parts[:1] == (top,) else kind
                for kind in self.others
                if kind.parts[:1] == (top,) or not is_document(kind.suffix)
            ],
            {parts[1:] for parts in self.folders if parts[:1] == (top,) and len(parts) > 1},
        )

    def refusal(self, purpose: str, where: str, way_out: str) -> InvalidInput:
        """The error for missing training or test images."""
        return InvalidInput(
            f"a data set must have images ({NAMES}) to {purpose} on",
            f"none in {where}{self._there}",
            way_out,
        )

    @property
    def way_out(self) -> str:
        """The best remedy for what was found."""
        flat = [leaf for leaf in self.leaves if len(leaf.parts) == 1]
        if self._archives and not self.leaves:
            return f"unpack {self._archives[0]!r} and pack the folders inside it"
        if any(needs_heif_reader(kind.suffix) for kind in self.others) and not self.leaves:
            return "install the extra `heic` (pillow-heif), or save the images as JPEG"
        if flat and len(flat) == len(self.leaves):
            table = f" (see {self._tables[0]!r})" if self._tables else ""
            return f"put each image into a folder named after its class{table} instead"
        return _PLAIN_WAY

    @property
    def _there(self) -> str:
        parts = [_counted(len(images), name) for name, images in sorted(self._by_folder.items())]
        if len(parts) > _MOST_NAMED:
            parts[_MOST_NAMED:] = [f"{len(parts) - _MOST_NAMED} more folders"]
        if self._archives:
            parts.append(f"{self._archives[0]!r}, an archive")
        if self._tables and self.leaves:
            parts.append(f"{self._tables[0]!r}")
        if not self.leaves and not self._archives and self.others:
            parts.append(of_endings((kind.suffix, kind.number) for kind in self.others))
        return f" (found: {'; '.join(parts)})" if parts else ""

    @property
    def _by_folder(self) -> dict[str, list[Leaf]]:
        folders: defaultdict[str, list[Leaf]] = defaultdict(list)
        for leaf in self.leaves:
            folders[leaf.parts[0] if len(leaf.parts) > 1 else ""].append(leaf)
        return folders

    @property
    def _archives(self) -> list[str]:
        return [kind.first for kind in self.others if is_archive(kind.suffix)]

    @property
    def _tables(self) -> list[str]:
        return [kind.first for kind in self.others if is_table(kind.suffix) and not kind.parts]


def unread_classes(found: Found, sections: Sequence[str]) -> list[UnreadClass]:
    """Class folders with files but no images, sorted by name.

    Folders with only documents do not count: notes or tables often have a folder of their own.

    Args:
        sections: the folders that contain the classes, in lower case; empty for the top level.
    """
    with_images = _with_images(found, sections)
    kinds: defaultdict[str, list[Beside]] = defaultdict(list)
    for kind in found.others:
        place = _class_of(kind.parts, sections)
        if place and place not in with_images:
            kinds[place].append(kind)
    return [
        UnreadClass(name, tuple(there))
        for name, there in sorted(kinds.items())
        if any(is_picture(kind.suffix) for kind in there)
        or not any(is_document(kind.suffix) for kind in there)
    ]


def remarks_on(found: Found, used: Collection[str], sections: Sequence[str]) -> tuple[str, ...]:
    """Sentences about files that are not used.

    Args:
        used: names of the files that are used.
        sections: as in `unread_classes`.
    """
    unused = [leaf for leaf in found.leaves if leaf.file.name not in used]
    with_images = _with_images(found, sections)
    beside = [k for k in found.others if _class_of(k.parts, sections) in with_images]
    places = {place for parts in found.folders if (place := _class_of(parts, sections))}
    places |= {place for kind in found.others if (place := _class_of(kind.parts, sections))}
    remarks = []
    if unused:
        counts = Counter("/".join(leaf.parts[:-1]) for leaf in unused)
        message = [_counted(count, name) for name, count in counts.most_common(_MOST_NAMED)]
        more = f"; {len(counts) - _MOST_NAMED} more folders" if len(counts) > _MOST_NAMED else ""
        remarks.append(f"{_images(len(unused))} not used: {'; '.join(message)}{more}.")
    if beside:
        endings = of_endings((kind.suffix, kind.number) for kind in beside)
        count = sum(kind.number for kind in beside)
        files = "1 other file is" if count == 1 else f"{count} other files are"
        remarks.append(f"{files} not read: {endings}.")
    if without := sorted(places - with_images):
        names = ", ".join(map(repr, without[:_MOST_NAMED]))
        more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
        remarks.append(f"{_folders(len(without))} no images: {names}{more}.")
    return tuple(remarks)


def _with_images(found: Found, sections: Sequence[str]) -> set[str]:
    """The classes whose folders contain images."""
    places = (_class_of(leaf.parts[:-1], sections) for leaf in found.leaves)
    return {place for place in places if place}


def _class_of(folder: tuple[str, ...], sections: Sequence[str]) -> str:
    """The class of a file's folder; empty if it is in none."""
    if sections == ("",):
        return folder[0] if folder else ""
    is_inside = len(folder) > 1 and folder[0].lower() in sections
    return "/".join((folder[0].lower(), folder[1])) if is_inside else ""


def _counted(count: int, folder: str) -> str:
    images = "1 image" if count == 1 else f"{count} images"
    return f"{images} in {folder + '/'!r}" if folder else f"{images} in no folder"


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"


def _folders(count: int) -> str:
    return "1 folder has" if count == 1 else f"{count} folders have"
