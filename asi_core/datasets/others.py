"""Non-image files of a folder or zip: counted, so that nothing is missing unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from asi_core.datasets.formats import is_junk, suffix_of

_MOST_ENDINGS = 5


class Kind(NamedTuple):
    """Files with one extension in one folder.

    Attributes:
        folder: relative, without a trailing slash; empty for the top level.
        suffix: in lower case, with its dot; empty for files without an extension.
    """

    folder: str
    suffix: str

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.folder.split("/")) if self.folder else ()


@dataclass
class Others:
    """Folders and non-image files; hidden ones and junk are not counted.

    Attributes:
        counts: number of files of each kind.
        firsts: name of the first file of each kind.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    firsts: dict[Kind, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def add_file(self, name: str) -> None:
        """Count a file, by its relative name."""
        if is_junk(name):
            return
        kind = Kind(name.rpartition("/")[0], suffix_of(name))
        self.counts[kind] += 1
        self.firsts.setdefault(kind, name)

    def add_folder(self, name: str) -> None:
        """Add a folder, by its relative name."""
        if not is_junk(name):
            self.folders.add(name)


def of_endings(kinds: Iterable[tuple[str, int]]) -> str:
    """Extensions with their counts in words, the most frequent first."""
    total: Counter[str] = Counter()
    for suffix, count in kinds:
        total[suffix] += count
    endings = total.most_common(_MOST_ENDINGS)
    return ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in endings)
