"""Whose an upload is, in a small file beside its zip: the same zip may belong to several owners."""

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
    """That an upload belongs to somebody.

    Attributes:
        file_name: what its owner calls the zip.
        created_at: when it was uploaded, Unix seconds.
        network: from which network (`asi_core.runs.submit.networks`), if that is known.
    """

    owner: str
    file_name: str
    created_at: float
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims to one zip.

    Attributes:
        by_hand: whether the zip was put there by whoever runs the server, and stays.
    """

    all: tuple[Claim, ...] = ()
    by_hand: bool = True

    def of(self, owner: str) -> Claim | None:
        """The owner's claim, None without one."""
        return next((claim for claim in self.all if claim.owner == owner), None)

    def adding(self, claim: Claim) -> Self:
        """These, with this one in place of an earlier one of the same owner."""
        others = (other for other in self.all if other.owner != claim.owner)
        return type(self)((*others, claim), self.by_hand)

    def keeping(self, kept: Iterable[Claim]) -> Self:
        """Only some of these."""
        return type(self)(tuple(kept), self.by_hand)


def read_claims(zip_path: Path) -> Claims:
    """The claims to a zip; to one without any beside it, those of one put there by hand."""
    path = _beside(zip_path)
    try:
        status = path.stat()
    except OSError:
        return Claims()
    return _read(path, status.st_mtime_ns, status.st_ino, status.st_size)


def write_claims(zip_path: Path, claims: Claims) -> None:
    """Keep the claims; the zip goes with the last of them, unless it was put there by hand.

    Whoever calls this holds the lock of the folder from reading the claims on.
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


# Every page with a form asks for them at every drawing.
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
