"""Configurations of transformers' networks: the files, what may be in them, and visitors' own.

    hf/FOLDER, hf/FILE    a folder with a config.json, or that file
    config/NAME           one that comes with this project, or that somebody has handed in

A configuration is data: of architectures that transformers itself contains, networks are built
from it. Code that it names is never run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asi_core.errors import AsiError, InvalidInput, shortened
from asi_core.settings import DATA, read_settings
from asi_core.units import KIB, format_bytes

PREFIX = "config/"
# A decoder of this project's own, of about 1 billion parameters.
EXAMPLE = f"{PREFIX}decoder_1b"

_SHIPPED = DATA / "configurations"
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_IN_TITLE = re.compile(r"\((config/[a-z0-9_]{1,40})\)$")
_LARGEST_BYTES, _MOST_KEPT, _LONGEST_PART = 64 * KIB, 500, 60
# Of the published decoders, the deepest have 126 layers.
_MOST_LAYERS, _LARGEST_NUMBER, _DEEPEST = 256, 10**8, 8
_LAYERS = re.compile(r"(^|_)n(um)?_(.*_)?(layer|block)s?$")
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
# How weights are stored and which code multiplies them: neither changes a shape.
_WITHOUT_INFLUENCE = re.compile(r"^_.*|.*implementation.*|use_kernels|quantization_config|.*dtype")


def configuration_file(name: str) -> Path | None:
    """The file of a network's name; None if it is none, or an id on the hub."""
    own = name.partition("/")[2]
    if name.startswith(PREFIX):
        if not _NAME.fullmatch(own):
            return None
        paths = [folder / f"{own}.json" for folder in (_SHIPPED, _kept_folder())]
    elif name.startswith("hf/"):
        paths = [Path(own) / "config.json", Path(own)]
    else:
        return None
    return next((path for path in paths if path.is_file()), None)


def read_configuration(name: str, path: Path) -> dict[str, Any]:
    """What is in a configuration's file and has an influence on the network.

    Raises:
        InvalidInput: if it is no configuration, or names code of its own.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "a configuration must be a file with JSON", repr(name), "check its path"
        ) from error
    return _parsed(text)


def keep_configuration(text: str) -> str:
    """Check a configuration that somebody hands in, keep it, make its card; return its name.

    Raises:
        InvalidInput: if it is no configuration that may be handed in.
        Unavailable: if transformers is not installed.
        Unsupported: if it is not of a decoder whose layers can be compressed.
    """
    from asi_core.zoo.cards import model_card

    if len(text.encode()) > _LARGEST_BYTES:
        raise InvalidInput(
            f"a configuration must have at most {format_bytes(_LARGEST_BYTES)}",
            format_bytes(len(text.encode())),
            "take out what does not describe the network",
        )
    found = _parsed(text)
    for key, value in _numbers(found):
        _check_number(key, value)
    written = json.dumps(found, sort_keys=True)
    name = f"{PREFIX}{hashlib.sha256(written.encode()).hexdigest()[:16]}"
    path = _kept_folder() / f"{name.removeprefix(PREFIX)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written, encoding="utf-8")
    try:
        model_card(name)
    except AsiError:
        path.unlink(missing_ok=True)
        raise
    _forget_oldest()
    return name


def configuration_title(name: str) -> str:
    """What a configuration is called on pages; the name can be read from it."""
    if name == EXAMPLE:
        return f"Decoder of 1 billion parameters ({name})"
    path = configuration_file(name)
    kind = "Unknown" if path is None else read_configuration(name, path)["model_type"]
    return f"{kind} decoder ({name})"


def named_in(text: str) -> str | None:
    """The configuration that is meant by its name or its title; None if there is none."""
    found = _IN_TITLE.search(text)
    name = found[1] if found else text
    is_known = name.startswith(PREFIX) and configuration_file(name) is not None
    return name if is_known else None


def _kept_folder() -> Path:
    return read_settings().home / "configurations"


def _forget_oldest() -> None:
    kept = sorted(_kept_folder().glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-_MOST_KEPT]:
        path.unlink(missing_ok=True)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "a configuration must be JSON, as in a config.json of transformers",
            repr(shortened(text.strip(), _LONGEST_PART)),
            "copy the whole file",
        ) from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if not (isinstance(kind, str) and _ARCHITECTURE.fullmatch(kind)):
        raise InvalidInput(
            'a configuration must name its architecture as "model_type"',
            repr(shortened(text.strip(), _LONGEST_PART)),
            "copy the whole config.json",
        )
    if "auto_map" in text:
        raise InvalidInput(
            "a configuration must be of an architecture that transformers contains",
            "one with code of its own (auto_map)",
            "choose another network",
        )
    influential: dict[str, Any] = _influential(found, 0)
    return influential


def _influential(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise InvalidInput(
            f"a configuration must be nested at most {_DEEPEST} levels deep", "more", "flatten it"
        )
    if isinstance(value, list):
        return [_influential(part, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if not _WITHOUT_INFLUENCE.fullmatch(key)}
    return {key: _influential(part, depth + 1) for key, part in kept.items()}


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """All numbers and lengths of lists, with the keys where they are found."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value


def _check_number(key: str, value: float) -> None:
    most = _MOST_LAYERS if _LAYERS.search(key) else _LARGEST_NUMBER
    if not abs(value) <= most:
        raise InvalidInput(
            f"{shortened(key, _LONGEST_PART)} of a configuration must be at most {most} here",
            value,
            "estimate it on the command line of your own machine",
        )
