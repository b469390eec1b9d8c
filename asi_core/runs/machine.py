"""The machine's memory."""

from __future__ import annotations

from distributed.system import MEMORY_LIMIT


def machine_bytes() -> int:
    """The memory limit of the machine or the container, in bytes."""
    return int(MEMORY_LIMIT)
