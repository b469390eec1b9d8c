"""Registries that other packages extend, by entry points or by registering at run time.

A package adds a method, for instance, with these lines in its pyproject.toml:

    [project.entry-points."asi_lab.methods"]
    my_method = "my_package.my_module:MyMethod"
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from asi_core.errors import InvalidInput, one_sentence

log = logging.getLogger(__name__)

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """Entries by name: built-in, then those of other packages, then those registered at run time.

    Args:
        what: the word for an entry in error messages.
        group: the entry point group by which packages add entries.
        name_of: returns the name of an entry; raises `InvalidInput` if it is not a valid entry.
        own: the built-in entries.
    """

    def __init__(
        self, what: str, group: str, name_of: Callable[[Any], str], own: tuple[Entry, ...] = ()
    ) -> None:
        self._what, self._group, self._name_of = what, group, name_of
        self._entries: dict[str, Entry] = {}
        self._is_complete = False
        for entry in own:
            self.add(entry)

    def add(self, entry: Entry) -> Entry:
        """Register an entry.

        Raises:
            InvalidInput: if it is not a valid entry, or another one has its name.
        """
        name = self._name_of(entry)
        if self._entries.get(name, entry) is not entry:
            raise InvalidInput(
                f"each {self._what} needs a unique name", repr(name), "choose another name"
            )
        self._entries[name] = entry
        return entry

    def remove(self, name: str) -> None:
        """Remove the entry of this name, if there is one."""
        self._entries.pop(name, None)

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            self._complete()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        self._complete()
        return len(self._entries)

    def _complete(self) -> None:
        """Add the entries of other packages; one that fails to load is logged and skipped."""
        if self._is_complete:
            return
        self._is_complete = True
        for point in entry_points(group=self._group):
            try:
                self.add(point.load())
            except Exception as error:
                log.warning("%s %s is left out: %s", self._what, point.value, one_sentence(error))
