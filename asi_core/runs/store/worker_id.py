"""The identity of a worker process, as text that other processes can check."""

from __future__ import annotations

import json
import os
import platform
import uuid
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class WorkerId:
    """A process.

    Attributes:
        machine: unique id of the machine and its PID namespace (a container has its own).
        pid: process id in that namespace.
        address: its address at Dask's scheduler; empty if there is none.
    """

    machine: str
    pid: int
    address: str = ""

    @classmethod
    def here(cls, address: str = "") -> Self:
        """This process."""
        return cls(_this_machine(), os.getpid(), address)

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Parse the text made by `str`; None if it is invalid."""
        try:
            return None if text is None else cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended for certain; False if that cannot be determined here."""
        return self.machine == _this_machine() and not psutil.pid_exists(self.pid)


@lru_cache(maxsize=1)
def _this_machine() -> str:
    try:
        # A container has its own PID namespace, and may have the host name of another one.
        return f"{_BOOT.read_text(encoding='utf-8').strip()}/{_NAMESPACE.stat().st_ino}"
    except OSError:
        return f"{platform.node()}/{uuid.getnode():x}"
