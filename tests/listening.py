"""Addresses on which this process and its child processes listen."""

from __future__ import annotations

from typing import Any

import psutil


def listening_ends() -> list[Any]:
    """TCP addresses with `ip` and `port`."""
    here = psutil.Process()
    return [end for each in (here, *here.children(recursive=True)) for end in _ends_of(each)]


def _ends_of(process: psutil.Process) -> list[Any]:
    try:
        found = process.net_connections("tcp")
    except (psutil.NoSuchProcess, FileNotFoundError):
        # A process of an earlier test that has just ended.
        return []
    return [one.laddr for one in found if one.status == psutil.CONN_LISTEN]
