"""What the machine has for runs."""

from __future__ import annotations

from distributed.system import MEMORY_LIMIT


def machine_bytes() -> int:
    """Memory that may be used here: the machine's, or a container's."""
    return int(MEMORY_LIMIT)
