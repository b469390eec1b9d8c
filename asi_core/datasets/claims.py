"""The owners of an upload, in a small file beside its zip: a zip may have several owners."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

_KEPT = 2048


@dataclass(frozen=True, slots=True)
class Claim:
    """One owner's claim to an upload.

    Attributes:
        file_name: the owner's name for the zip.
        created_at: time of upload, Unix seconds.
        network: network of the uploader (`asi_core.runs.submit.networks`), if known.
    """

    owner: str
    file_name: str
    created_at: float
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims to one zip.

    Attributes:
        by_hand: whether the server's administrator put the zip there; it is then kept.
    """

    all: tuple[Claim, ...] = ()
    by_hand: bool = True

    def of(self, owner: str) -> Claim | None:
        """The owner's claim; None if there is none."""
        return next((claim for claim in self.all if claim.owner == owner), None)

    def adding(self, claim: Claim) -> Self:
        """These claims plus one, which replaces an earlier claim of the same owner."""
        others = (other for other in self.all if other.owner != claim.owner)
        return type(self)((*others, claim), self.by_hand)

    def keeping(self, kept: Iterable[Claim]) -> Self:
        """Only the claims in `kept`."""
        return type(self)(tuple(kept), self.by_hand)


def read_claims(zip_path: Path) -> Claims:
    """The claims to a zip; without a claims file, it counts as put there by hand."""
    path = _beside(zip_path)
    try:
        status = path.stat()
    except OSError:
        return Claims()
    return _read(path, status.st_mtime_ns, status.st_ino, status.st_size)


def write_claims(zip_path: Path, claims: Claims) -> None:
    """Write the claims. The zip is removed with the last of them, unless it was put there by hand.

    The caller must hold the folder's lock from before reading the claims.
    """
    path = _beside(zip_path)
    if claims.all:
        draft = path.with_suffix(f".{uuid4().hex}.part")
        message = {"by_hand": claims.by_hand, "claims": [asdict(claim) for claim in claims.all]}
        draft.write_text(json.dumps(message))
        os.replace(draft, path)
        return
    if not claims.by_hand:
        zip_path.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _beside(zip_path: Path) -> Path:
    return zip_path.with_suffix(".json")


# Every page with a form asks for them on each rerun.
@lru_cache(maxsize=_KEPT)
def _read(path: Path, mtime_ns: int, inode: int, size_bytes: int) -> Claims:
    try:
        message: dict[str, Any] = json.loads(path.read_text())
        if "owner" in message:
            # Written by a version in which a zip had one owner.
            return Claims((Claim(**message),), by_hand=False)
        return Claims(
            tuple(Claim(**claim) for claim in message["claims"]), bool(message["by_hand"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Claims()
