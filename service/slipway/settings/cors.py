"""What CORS settings must be like to mean anything: origins as browsers send them, headers that have a name.

A browser sends an origin in one form only (scheme://host, a port that isn't the scheme's own; ASCII, lower case), and
it is compared letter by letter: one that is written otherwise would be accepted here and never match.
"""

from __future__ import annotations

import ipaddress
import re

from slipway.settings import Settings

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_PORT = re.compile(r":(0|[1-9]\d{0,4})\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_PORTS = {"http": "80", "https": "443"}
_LAST_PORT = 65535


def cors_faults(settings: Settings) -> list[str]:
    """Why browsers would never match these settings, a sentence each; empty when they are fine."""
    found = [fault for origin in settings.cors_origins if (fault := origin_fault(origin))]
    if "*" in settings.cors_origins and set(settings.cors_origins) != {"*"}:
        found.append("* allows every origin, also those beside it: write it alone, or leave it out.")
    return [
        *(f"SLIPWAY_CORS_ORIGINS: {fault}" for fault in found),
        *(f"SLIPWAY_CORS_HEADERS: {fault}" for header in settings.cors_headers if (fault := _header_fault(header))),
    ]


def origin_fault(origin: str) -> str | None:
    """What is wrong with an origin, as a sentence that says what to write; None when a browser can send it."""
    if origin == "*":
        return None
    scheme, found, rest = origin.partition("://")
    host, *path = re.split(r"[/?#\\]", rest)
    write = f"write {_as_sent(scheme, host)}."
    shown = origin if "@" not in origin else "…@" + origin.rpartition("@")[2]  # before it may stand a password
    checks = (
        (origin.lower() == "null", "null is what any site's sandboxed frames and files send: name the origins."),
        (_is_quoted(origin), f"{shown} looks like JSON or is quoted: write origins bare, separated by commas."),
        (
            any(letter.isspace() or not letter.isprintable() or letter == ";" for letter in origin),
            f"{shown} has a blank or semicolon in it: separate origins by commas.",
        ),
        (
            not found or not _SCHEME.fullmatch(scheme),
            f"{shown} has no scheme: write it as browsers send it, with https:// in front.",
        ),
        (
            "@" in rest,
            f"{shown} has a user name or password before its host, and browsers send none: leave it out.",
        ),
        ("*" in host, f"{origin} is a pattern, and origins are compared as they are: name each one."),
        (not host.isascii(), f"{origin} isn't ASCII: write its host as browsers send it, xn--…."),
        (
            not host or (scheme.lower() in _OWN_PORTS and not _is_host(host.lower())),
            f"{origin} names no host as browsers send it, or no port up to {_LAST_PORT}.",
        ),
        (path == [""], f"{origin} ends with {origin[-1]}, and an origin never does: {write}"),
        (bool(path), f"{origin} goes on after its host, and an origin never does: {write}"),
        (origin != _as_sent(scheme, host), f"{origin} isn't how browsers write it: {write}"),
    )
    return next((sentence for broken, sentence in checks if broken), None)


def _is_quoted(origin: str) -> bool:
    return origin[0] in "[\"'{" or origin[-1] in "\"'}" or (origin[-1] == "]" and "://[" not in origin)


def _as_sent(scheme: str, host: str) -> str:
    """As browsers write it: lower case, without the scheme's own port; hosts of other schemes are left as they are."""
    own = _OWN_PORTS.get(scheme.lower())
    return f"{scheme.lower()}://{host}" if own is None else f"{scheme}://{host}".lower().removesuffix(f":{own}")


def _is_host(host: str) -> bool:
    name, port = _PORT.sub("", host), _PORT.search(host)
    if port is not None and int(port[1]) > _LAST_PORT:
        return False
    try:
        if name.startswith("["):
            address = ipaddress.IPv6Address(name[1:-1])
            # Pythons differ in how they write a mapped address; a zone is none of a browser's.
            return not address.scope_id and (bool(address.ipv4_mapped) or name == f"[{address.compressed}]")
        if _NUMBER.fullmatch(name.rstrip(".").rpartition(".")[2]):
            return name == str(ipaddress.IPv4Address(name))
    except ValueError:
        return False
    return _HOST.fullmatch(name) is not None


def _header_fault(header: str) -> str | None:
    if header == "*":
        return "* stands for no header that carries a login: name the headers."
    return None if _TOKEN.fullmatch(header) else f"{header} is no header's name: write names, separated by commas."
