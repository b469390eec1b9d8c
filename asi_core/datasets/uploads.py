"""Zips of images uploaded by visitors, stored in the app's home under the hash of their content.

A name such as `upload:photos-1a2b3c4d5e6f` always means the same images on this installation, so a
run that names it can be repeated. Beside each zip is a small file with its owners: a zip may have
several, and is removed with the last one.
"""

from __future__ import annotations

import filecmp
import os
import re
import time
import unicodedata
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO, NoReturn

from filelock import FileLock

from asi_core.datasets import limits
from asi_core.datasets.cards import DatasetCard
from asi_core.datasets.claims import Claim, Claims, read_claims, write_claims
from asi_core.datasets.imagefolder import ImageFolder
from asi_core.datasets.received import received
from asi_core.datasets.splits import ImageData
from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import read_settings
from asi_core.units import format_bytes

PREFIX = "upload:"
_NAME = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded zip.

    Attributes:
        name: as `keep_upload` made it, without `PREFIX`.

    Raises:
        InvalidInput: if it is not a valid name of an upload.
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
        return self._titled(ImageFolder(str(self.path)).card, self.name.rpartition("-")[0])

    def card_of(self, claim: Claim) -> DatasetCard:
        """The card, titled with the owner's name for the zip: other owners may use another name."""
        return self._titled(self.card, _slug(claim.file_name))

    def check(self, skip_damaged: bool = False) -> DatasetCard:
        found = self._images.check(skip_damaged)
        return replace(found, name=self.card.name, title=self.card.title)

    def check_images(self) -> Iterator[int]:
        return self._images.check_images()

    def fingerprint(self) -> str:
        return self._images.fingerprint()

    def load(self, skip_damaged: bool = False) -> ImageData:
        return self._images.load(skip_damaged)

    @property
    def _images(self) -> ImageFolder:
        """The zip, named in errors as its first owner names it, without a path of the server.

        Raises:
            Unavailable: if it does not exist.
        """
        if not self.path.is_file():
            raise Unavailable(
                f"the uploaded images {self.name!r} do not exist (any more): upload them again."
            )
        return ImageFolder(str(self.path), called=f"{self.name.rpartition('-')[0]}.zip")

    def _titled(self, card: DatasetCard, called: str) -> DatasetCard:
        # Two uploads may have the same name.
        title = f"{called} ({self.name.rpartition('-')[2][:4]}), uploaded"
        return replace(card, name=PREFIX + self.name, title=title)


def keep_upload(
    stream: BinaryIO, file_name: str, owner: str, network: str | None = None
) -> DatasetCard:
    """Check a zip and keep it for its owner. The same content is kept once, for all its owners.

    Args:
        stream: read from its current position; at most `limits.LARGEST_UPLOAD_BYTES`.
        file_name: the visitor's name for it; only its letters and digits are used.
        network: network of the uploader (`asi_core.runs.submit.networks`), if known.

    Returns:
        the card, with classes and counts.

    Raises:
        InvalidInput: if it is too large, unsafe, not laid out as classes, or there are too many.
        Unavailable: if it is not a zip. Nothing is kept then.
    """
    read_settings().check_may_change()
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    claim = Claim(owner, file_name[:200], time.time(), network)
    with received(stream, folder) as (copy, digest):
        if _known(copy, digest) is None:
            # Checked before it is kept, so that errors use the visitor's file name.
            ImageFolder(str(copy), called=PurePath(file_name).name or "the upload").check()
        upload = _kept(copy, digest, claim)
    found = upload.check()
    return replace(found, title=upload.card_of(claim).title)


def uploads(owner: str) -> list[DatasetCard]:
    """An owner's uploads, newest first, titled with the owner's names for them."""
    mine = [(upload, claim) for upload in _all() if (claim := _claims(upload).of(owner))]
    mine.sort(key=lambda pair: -pair[1].created_at)
    return [upload.card_of(claim) for upload, claim in mine]


def remove_upload(name: str, owner: str) -> None:
    """Remove an owner's upload; the zip stays while it has other owners.

    Runs that were trained on it keep all their results.

    Args:
        name: with `PREFIX`.

    Raises:
        InvalidInput: if the owner has no claim to it.
        Unavailable: if it does not exist.
    """
    read_settings().check_may_change()
    upload = Upload(name.removeprefix(PREFIX))
    upload.check()
    with _locked():
        claims = _claims(upload)
        if claims.of(owner) is None:
            raise InvalidInput("only your own uploads can be removed", repr(name), "leave it")
        others = (claim for claim in claims.all if claim.owner != owner)
        write_claims(upload.path, claims.keeping(others))


def remove_older(before: float, used: Container[str]) -> None:
    """Remove uploads from before a time (Unix seconds), except those put there by hand.

    Args:
        used: names, with `PREFIX`, that are still needed.
    """
    for upload in _all():
        if PREFIX + upload.name in used:
            continue
        with _locked():
            claims = _claims(upload)
            young = [claim for claim in claims.all if claim.created_at >= before]
            if len(young) < len(claims.all):
                write_claims(upload.path, claims.keeping(young))


def remove_parts(before: float) -> None:
    """Remove the remains of uploads interrupted before a time (Unix seconds)."""
    for part in _folder().glob("*.part"):
        if part.stat().st_mtime < before:
            part.unlink(missing_ok=True)


def _folder() -> Path:
    return read_settings().home / "uploads"


def _locked() -> FileLock:
    """The lock to hold while claims are read and written: servers and workers share the folder."""
    return FileLock(_folder() / ".lock")


def _all() -> Iterator[Upload]:
    for path in sorted(_folder().glob("*.zip")):
        if _NAME.fullmatch(path.stem):
            yield Upload(path.stem)


def _claims(upload: Upload) -> Claims:
    return read_claims(upload.path)


def _known(copy: Path, digest: str) -> Upload | None:
    """The upload with the content of `copy`, if it exists.

    Raises:
        InvalidInput: if another content would have the same name.
    """
    found = next(_folder().glob(f"*-{digest[:12]}.zip"), None)
    if found is None:
        return None
    # Names contain only part of the digest, so that two contents with one name could be forged.
    if not filecmp.cmp(copy, found, shallow=False):
        raise InvalidInput(
            "an upload must differ from all others in the first 12 digits of its SHA-256",
            digest[:12],
            "pack the images again",
        )
    return Upload(found.stem)


def _kept(copy: Path, digest: str, claim: Claim) -> Upload:
    """Keep a checked zip, or add a claim to the existing one."""
    with _locked():
        upload = _known(copy, digest)
        is_new = upload is None
        upload = upload or Upload(f"{_slug(claim.file_name)}-{digest[:12]}")
        claims = Claims(by_hand=False) if is_new else _claims(upload)
        if claims.of(claim.owner) is None:
            _check_room(claim, copy.stat().st_size, is_new)
        write_claims(upload.path, claims.adding(claim))
        if is_new:
            os.replace(copy, upload.path)
        return upload


def _check_room(claim: Claim, size: int, is_new: bool) -> None:
    there = [(_claims(upload).all, upload.path.stat().st_size) for upload in _all()]
    same_owner = [size for all_, size in there if any(c.owner == claim.owner for c in all_)]
    same_network = [
        size
        for all_, size in there
        if claim.network and any(c.network == claim.network for c in all_)
    ]
    count, most = len(same_owner), limits.MOST_UPLOADS
    if count >= most:
        _refuse(f"at most {most} uploads are kept per owner", "one more")
    _check_total(same_network, size, limits.NETWORK_UPLOADS, "from one network address")
    if is_new:
        _check_total([size for _, size in there], size, limits.ALL_UPLOADS, "together")


def _check_total(sizes: Sequence[int], new: int, most: limits.Total, whose: str) -> None:
    if len(sizes) >= most.uploads:
        _refuse(f"all uploads {whose} may be at most {most.uploads}", "one more")
    if sum(sizes) + new > most.size_bytes:
        taken = format_bytes(sum(sizes) + new)
        _refuse(f"all uploads {whose} may take {format_bytes(most.size_bytes)}", taken)


def _refuse(rule: str, got: str) -> NoReturn:
    raise InvalidInput(rule, got, "remove one first")


def _slug(file_name: str) -> str:
    """Letters and digits of a file's name, for a safe name."""
    plain = unicodedata.normalize("NFKD", PurePath(file_name).stem).encode("ascii", "ignore")
    words = re.findall(r"[a-z0-9]+", plain.decode().lower())
    return "-".join(words)[:40].strip("-") or "images"
