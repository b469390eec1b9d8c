"""The network that somebody asks from: limits hold for it too, as a name is changed in a moment."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets

_KEY = secrets.token_bytes(32)
# What one customer is given at least: all its addresses are one person's.
_IPV6_PREFIX = 64


def network_of(address: str | None) -> str | None:
    """A name for the network of an IP address, from which nobody can tell the address.

    It is the same until the server is started anew: whoever then asks begins to be counted again.

    Args:
        address: as the server or a proxy gives it; None where there is none, as on a command line.

    Returns:
        32 characters; None without an address.
    """
    if not address:
        return None
    return hashlib.blake2b(_network(address).encode(), key=_KEY, digest_size=16).hexdigest()


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        # A proxy may name its clients as it likes.
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))
