"""By which names browsers may ask for this server.

A page of somebody else may have its own name lead to this machine ("DNS rebinding"): the browser
then takes the app for a part of that page. Its requests still bear that name in the header Host.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from streamlit import config

from asi_core.settings import read_settings

_LOOPBACK = ("localhost", "*.localhost")


def is_allowed(host: str) -> bool:
    """Whether a header Host names this server: by an address, a name of its own, or one of
    `ASI_ALLOWED_HOSTS`."""
    name = host_name(host)
    if name is None:
        return False
    # No address can be made to lead elsewhere.
    return _is_address(name) or any(_matches(name, known) for known in _known_names())


def host_name(host: str) -> str | None:
    """The name or address in a header Host, in small letters; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.netloc != host or "@" in host:
        return None
    return name.rstrip(".")


def _known_names() -> Iterable[str]:
    own = socket.gethostname()
    bound = (config.get_option("server.address"), config.get_option("browser.serverAddress"))
    named = read_settings().allowed_hosts.split(",")
    every = (*_LOOPBACK, own, f"{own}.local", *bound, *named)
    return (name.strip().lower().rstrip(".") for name in every if name and name.strip())


def _matches(name: str, known: str) -> bool:
    if known.startswith("*."):
        return name.endswith(known[1:])
    return known in ("*", name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
