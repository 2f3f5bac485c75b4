"""Which part of a network address stands for one client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

IPV6_SITE = 64
"""Bits of an IPv6 address that name a customer; the rest is theirs to vary."""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The address that limits count for: an IPv4 address, an IPv6 /64, or whatever else a server calls a peer."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((int(parsed), IPV6_SITE), strict=False))
    return str(parsed)
