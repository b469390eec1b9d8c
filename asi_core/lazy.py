"""Lazy imports of a package's public names.

Importing torch takes seconds, and pages and accounting must respond at once. A package with tensor
code therefore lists its public names here instead of importing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module `__getattr__` for `package`.

    Args:
        homes: public name -> "module" (the name is the module itself) or "module:attribute",
            relative to the package.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        found = import_module(f"{package}.{module}")
        return getattr(found, attribute) if attribute else found

    return find
