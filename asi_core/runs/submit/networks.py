"""A pseudonym of the user's network, for limits: a user name is too easy to change."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets

_KEY = secrets.token_bytes(32)
# Providers assign at least a /64 per customer, so all its addresses count as one user.
_IPV6_PREFIX = 64


def network_of(address: str | None) -> str | None:
    """A keyed hash of the network of an IP address, which does not reveal the address.

    The key changes when the server restarts, so that counts start over.

    Args:
        address: from the server or a proxy; None if there is none, as on a command line.

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
        # A proxy may use other names for its clients.
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))
