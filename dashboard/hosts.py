"""The host names under which this server accepts requests.

Another site may point its own name to this machine ("DNS rebinding"): the browser then treats the
app as part of that site. Such requests carry the foreign name in the Host header.
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
    """Whether a Host header names this server: by an IP address, one of its own names, or one of
    `ASI_ALLOWED_HOSTS`."""
    name = host_name(host)
    if name is None:
        return False
    # IP addresses cannot be rebound.
    return _is_address(name) or any(_matches(name, known) for known in _known_names())


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case; None if it is malformed."""
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
