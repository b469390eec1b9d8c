"""Image zips that visitors have uploaded, kept in the app's home under the hash of their content.

A name such as `upload:photos-1a2b3c4d5e6f` means the same images on this installation for ever, so
a run that names it can be repeated. Beside each zip lies a small file that says whose it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile
from typing import IO, Any, BinaryIO

from asi_core.datasets import limits
from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.imagefolder import ImageFolder
from asi_core.datasets.splits import ImageData
from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import read_settings
from asi_core.units import format_bytes

PREFIX = "upload:"
_NAME = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{12}")
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded zip.

    Attributes:
        name: as `keep_upload` gave it, without `PREFIX`.

    Raises:
        InvalidInput: if no upload can have that name.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{PREFIX} must be followed by the name of an upload",
                repr(self.name),
                "choose one from the list of images on the Train page",
            )

    @property
    def path(self) -> Path:
        return _folder() / f"{self.name}.zip"

    @property
    def card(self) -> DatasetCard:
        called, _, digest = self.name.rpartition("-")
        # Two uploads may be called the same.
        title = f"{called} ({digest[:4]}), uploaded"
        return replace(self._images.card, name=PREFIX + self.name, title=title)

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        self._require()
        found = self._images.check(skip_damaged)
        return replace(found, name=self.card.name, title=self.card.title)

    def check_images(self) -> Iterator[int]:
        self._require()
        return self._images.check_images()

    def fingerprint(self) -> str:
        self._require()
        return self._images.fingerprint()

    def load(self, skip_damaged: bool = False) -> ImageData:
        self._require()
        return self._images.load(skip_damaged)

    @property
    def _images(self) -> ImageFolder:
        # Errors speak of what the visitor sees: no path of the server.
        return ImageFolder(str(self.path), called=f"{self.name.rpartition('-')[0]}.zip")

    def _require(self) -> None:
        if not self.path.is_file():
            raise Unavailable(
                f"the uploaded images {self.name!r} are not here (any more): upload them again."
            )


def keep_upload(stream: BinaryIO, file_name: str, owner: str) -> DatasetCard:
    """Check a zip and keep it. The same content is kept once, and belongs to who came first.

    Args:
        stream: read from where it stands; at most `limits.LARGEST_UPLOAD_BYTES`.
        file_name: what the visitor calls it; only letters and digits of it are used.

    Returns:
        the card, with the classes and counts that were found.

    Raises:
        InvalidInput: if it is too large, unsafe, not laid out as classes, or there are too many.
        Unavailable: if it is no zip. Nothing is kept then.
    """
    read_settings().check_may_change()
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _copied(stream, folder) as (copy, digest):
        known = next(folder.glob(f"*-{digest[:12]}.zip"), None)
        if known is not None:
            return Upload(known.stem).check()
        _check_room(owner, copy.stat().st_size)
        upload = Upload(f"{_slug(file_name)}-{digest[:12]}")
        # Refused before it is kept, in words that name the file as the visitor does.
        _refuse_in_own_words(copy, file_name)
        about = {"owner": owner, "file_name": file_name[:200], "created_at": time.time()}
        upload.path.with_suffix(".json").write_text(json.dumps(about))
        os.replace(copy, upload.path)
    return upload.check()


def uploads(owner: str) -> list[DatasetCard]:
    """An owner's uploads, newest first."""
    mine = [upload for upload in _all() if _about(upload)["owner"] == owner]
    return [u.card for u in sorted(mine, key=lambda u: -float(_about(u)["created_at"]))]


def remove_upload(name: str, owner: str) -> None:
    """Remove an upload; runs that were trained on it keep all that they have measured.

    Args:
        name: with `PREFIX`.

    Raises:
        InvalidInput: if it is somebody else's.
        Unavailable: if it is not here.
    """
    read_settings().check_may_change()
    upload = Upload(name.removeprefix(PREFIX))
    upload.check()
    if _about(upload)["owner"] != owner:
        raise InvalidInput("only one's own uploads can be removed", repr(name), "leave it")
    upload.path.unlink(missing_ok=True)
    upload.path.with_suffix(".json").unlink(missing_ok=True)


def remove_older(before: float, used: Container[str]) -> None:
    """Remove uploads from before a time (Unix seconds), but those put there by hand.

    Args:
        used: names, with `PREFIX`, that are still wanted.
    """
    for upload in _all():
        about = _about(upload)
        wanted = about["owner"] is None or PREFIX + upload.name in used
        if not wanted and float(about["created_at"]) < before:
            upload.path.unlink(missing_ok=True)
            upload.path.with_suffix(".json").unlink(missing_ok=True)


def remove_parts(before: float) -> None:
    """Remove what is left of uploads that were interrupted before a time (Unix seconds)."""
    for part in _folder().glob("*.part"):
        if part.stat().st_mtime < before:
            part.unlink(missing_ok=True)


def _folder() -> Path:
    return read_settings().home / "uploads"


def _all() -> Iterator[Upload]:
    for path in sorted(_folder().glob("*.zip")):
        if _NAME.fullmatch(path.stem):
            yield Upload(path.stem)


def _about(upload: Upload) -> dict[str, Any]:
    """What is known of an upload; of nobody if it was put there by hand."""
    try:
        return dict(json.loads(upload.path.with_suffix(".json").read_text()))
    except (OSError, ValueError):
        return {"owner": None, "created_at": 0.0}


@contextmanager
def _copied(stream: BinaryIO, folder: Path) -> Iterator[tuple[Path, str]]:
    """The stream as a file in `folder` that is gone afterwards, and its SHA-256."""
    with NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as copy:
        path = Path(copy.name)
        try:
            digest = _copy(stream, copy)
            copy.flush()
            os.fsync(copy.fileno())
        except BaseException:
            path.unlink()
            raise
    try:
        yield path, digest
    finally:
        path.unlink(missing_ok=True)


def _copy(stream: BinaryIO, copy: IO[bytes]) -> str:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > limits.LARGEST_UPLOAD_BYTES:
            raise InvalidInput(
                f"an uploaded zip must have at most {format_bytes(limits.LARGEST_UPLOAD_BYTES)}",
                "more",
                "resize the images first, or put them on the server and use imagefolder:PATH",
            )
        digest.update(chunk)
        copy.write(chunk)
    return digest.hexdigest()


def _check_room(owner: str, size: int) -> None:
    if len(uploads(owner)) >= limits.MOST_UPLOADS:
        raise InvalidInput(
            f"at most {limits.MOST_UPLOADS} uploads are kept for one owner",
            "one more",
            "remove one first",
        )
    taken = sum(upload.path.stat().st_size for upload in _all())
    if taken + size > limits.ALL_UPLOADS_BYTES:
        raise InvalidInput(
            f"all uploads together may take {format_bytes(limits.ALL_UPLOADS_BYTES)}",
            format_bytes(taken + size),
            "remove one first",
        )


def _refuse_in_own_words(copy: Path, file_name: str) -> None:
    """Check the copy; errors speak of the visitor's file, not of ours."""
    ImageFolder(str(copy), called=PurePath(file_name).name or "the upload").check()


def _slug(file_name: str) -> str:
    """Letters and digits of a file's name, for a name that is safe anywhere."""
    plain = unicodedata.normalize("NFKD", PurePath(file_name).stem).encode("ascii", "ignore")
    words = re.findall(r"[a-z0-9]+", plain.decode().lower())
    return "-".join(words)[:40].strip("-") or "images"
