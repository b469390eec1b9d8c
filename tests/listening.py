"""Where this process and those that it has started listen."""

from __future__ import annotations

from typing import Any

import psutil


def listening_ends() -> list[Any]:
    """Addresses with `ip` and `port`, of TCP."""
    here = psutil.Process()
    return [end for each in (here, *here.children(recursive=True)) for end in _ends_of(each)]


def _ends_of(process: psutil.Process) -> list[Any]:
    try:
        found = process.net_connections("tcp")
    except (psutil.NoSuchProcess, FileNotFoundError):
        # One of an earlier test, which ends meanwhile.
        return []
    return [one.laddr for one in found if one.status == psutil.CONN_LISTEN]
