"""Networks beyond the zoo, by name: who may use which, and the cards that are kept of them.

    torchvision/regnet_y_400mf      any classification network of torchvision
    timm/mobilenetv3_small_050      any network of timm, where it is installed
    hf/google/vit-base-patch16-224  an image classifier of transformers, by id or folder
    hf/my_decoder                   a decoder, by a folder with its configuration
    config/decoder_1b               one that is shipped or was handed in (`zoo.configurations`)
    my_networks.py:tiny             what a function of a Python file returns

A card is made by tracing the network on the meta device and kept on disk, so that pages read it
without importing torch. Making one runs the library's code, or that of the file: on a server only
for torchvision's networks, configurations of decoders, which are checked and read in a process of
their own, and those that the owner lists in `ASI_MODELS`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import read_settings
from asi_core.zoo.cards import MODELS, ModelCard, WeightFile
from asi_core.zoo.configurations import EXAMPLE, PREFIX, configuration_file, configuration_title

_LIBRARIES = {
    "torchvision/": "torchvision",
    "timm/": "timm",
    "hf/": "transformers",
    PREFIX: "transformers",
}
_EXTRAS = {"timm/": "timm", "hf/": "hf", PREFIX: "hf"}
_OPEN_TO_ALL = ("torchvision/", PREFIX)
_LONGEST_NAME = 200
# Classification networks of torchvision, for pages, which do not import it.
_LIST = "facts/torchvision_models.json"
# Names that the command line of this process and of those that it starts has been given.
_TRUSTED = "ASI_TRUSTED_MODELS"
_SEPARATOR = ","
# Fields of a card that JSON turns into lists.
_TUPLES = ("mean", "std", "layer_names", "layer_modes", "other_heads")


def is_outside(name: str) -> bool:
    """Whether this is the name of a network beyond the zoo."""
    return name.startswith(tuple(_LIBRARIES)) or ".py:" in name


def trust(name: str) -> None:
    """Let this process, and those that it starts, make and build a network of this name.

    For names that come from a command line, whose user may run any code anyway.
    """
    if is_outside(name) and name not in _trusted():
        os.environ[_TRUSTED] = "\n".join((*_trusted(), name))


def check_may_build(name: str) -> None:
    """Raise unless this process may run the code that makes the network `name`.

    Raises:
        InvalidInput: for a network that this installation does not offer.
        Unavailable: if the library of the network is not installed.
    """
    if not (name.startswith(_OPEN_TO_ALL) or name in (*offered(), *_trusted())):
        raise InvalidInput(
            "models beyond the zoo and torchvision must be listed by the owner of the server",
            repr(name),
            "add it to ASI_MODELS, or use the command line",
        )
    for prefix, library in _LIBRARIES.items():
        if name.startswith(prefix) and _version(library) is None:
            raise Unavailable(
                f"{name} needs {library}, which is not installed: pip install "
                f"asi-lab[{_EXTRAS.get(prefix, library)}]."
            )


def offered() -> tuple[str, ...]:
    """Names that the owner of this installation offers besides the zoo and torchvision."""
    return tuple(part for part in read_settings().models.split(_SEPARATOR) if part)


def choices() -> tuple[str, ...]:
    """Names of all models that users of this installation may choose: the zoo's first."""
    return (*MODELS, EXAMPLE, *_of_torchvision(), *offered())


@cache
def _of_torchvision() -> tuple[str, ...]:
    listed: list[str] = json.loads(files("asi_core").joinpath(_LIST).read_text(encoding="utf-8"))
    return tuple(f"torchvision/{name}" for name in listed)


def title_of(name: str) -> str:
    """What a model is called on pages, without reading its card where it is beyond the zoo."""
    if name in MODELS:
        return MODELS[name].title
    if ".py:" in name:
        path, _, factory = name.rpartition(":")
        return f"{factory} ({Path(path).name})"
    if name.startswith(PREFIX):
        return configuration_title(name)
    library, _, own = name.partition("/")
    return f"{own} ({'transformers' if library == 'hf' else library})"


def outside_card(name: str) -> ModelCard:
    """The card of a network beyond the zoo, from disk or made now.

    Raises:
        InvalidInput: if there is no such network, or this process may not make it.
        Unavailable: if its library is missing.
        Unsupported: if it is no image classifier or decoder whose layers can be compressed.
    """
    return _card(_facts(name)["card"])


def outside_rows(name: str) -> list[dict[str, Any]]:
    """Rows about the layers of a network beyond the zoo, as in the table of shapes."""
    rows: list[dict[str, Any]] = _facts(name)["layers"]
    return rows


def forget_cards() -> None:
    """Read all cards from disk again."""
    _read.cache_clear()


def _facts(name: str) -> dict[str, Any]:
    if len(name) > _LONGEST_NAME or any(ord(character) < 32 for character in name):
        raise InvalidInput(
            f"names of models must have at most {_LONGEST_NAME} characters, none of them a control "
            "character",
            f"{len(name)}",
            "choose another",
        )
    path = _path(name)
    kept = _read(path, _changed_at(path))
    if kept is not None and kept["edition"] == edition(name) and _is_complete(kept):
        return kept
    try:
        check_may_build(name)
    except (InvalidInput, Unavailable):
        # What was made by an earlier version of the library is better than nothing.
        if kept is not None:
            return _completed(kept)
        raise
    made = {"name": name, "edition": edition(name), **_made(name)}
    _write(path, made)
    return made


def _is_complete(kept: dict[str, Any]) -> bool:
    return all("after" in row for row in kept["layers"])


def _completed(kept: dict[str, Any]) -> dict[str, Any]:
    """Facts of a version that knew of each layer only how many of the last must be trained so that
    its input needs a gradient."""
    rows = kept["layers"]
    for at, row in enumerate(rows):
        if "after" not in row:
            least = row.pop("input_gradient_from")
            latest = None if least is None else len(rows) - least
            # Of a layer that is registered before its source.
            latest = at + 1 if latest == at else latest
            row["after"] = [] if latest is None or latest >= len(rows) else [latest]
    return kept


def _made(name: str) -> dict[str, Any]:
    if name.startswith(PREFIX):
        from asi_core.zoo.apart import made_apart

        return made_apart(name)
    from asi_core.zoo.making import made_facts

    return made_facts(name)


def _path(name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()[:24]
    return read_settings().home / "models" / f"{digest}.json"


def edition(name: str) -> str:
    """What a network depends on besides its name: its library's version or its file's content;
    empty for the zoo's. What is remembered of a network is remembered of its edition."""
    if not is_outside(name):
        return ""
    for prefix, library in _LIBRARIES.items():
        if name.startswith(prefix):
            of_library = f"{library} {_version(library)}"
            configuration = configuration_file(name)
            return f"{of_library} {_digest(configuration)}" if configuration else of_library
    return _digest(Path(name.rpartition(":")[0]))


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return "no file"


@lru_cache(maxsize=8)
def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _trusted() -> tuple[str, ...]:
    return tuple(part for part in os.environ.get(_TRUSTED, "").split("\n") if part)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=512)
def _read(path: Path, changed_at: int) -> dict[str, Any] | None:
    """What is kept at `path`; None if there is nothing, or nothing that can be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        _card(kept["card"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return kept if isinstance(kept, dict) else None


def _write(path: Path, facts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    Path(part).replace(path)


def card_as_dict(card: ModelCard) -> dict[str, Any]:
    """For JSON."""
    return asdict(card)


def _card(written: dict[str, Any]) -> ModelCard:
    weights = WeightFile(**{**written["weights"], "package": None})
    tuples = {name: tuple(written[name]) for name in _TUPLES}
    return ModelCard(**{**written, **tuples, "weights": weights})
