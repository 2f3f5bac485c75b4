"""Secrets with a login to PostgreSQL, by Service Binding's keys or a `uri`: read and written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

PORT = 5432
_LAST_PORT = 65535
FILES = ("type", "host", "port", "database", "username", "password", "uri")
"""Keys of the Secret that pods mount."""
_KEYS = ("host", "port", "database", "username", "password")


class Address(NamedTuple):
    host: str
    port: int
    database: str


@dataclass(frozen=True, slots=True)
class LoginData:
    """`authority`: PEM of the CA that must have signed the server's certificate; empty: any, or no TLS."""

    address: Address
    user: str
    password: str = field(repr=False)
    authority: str = field(default="", repr=False)


class LoginError(ValueError):
    """The Secret holds no login; the message says what lacks, never what it holds."""


def login_of(data: Mapping[str, bytes]) -> LoginData:
    """Single keys go before what `uri` says. Raises LoginError."""
    texts = {name: _text(name, data[name]) for name in (*_KEYS, "uri", "ca.crt") if name in data}
    found = _of_uri(texts["uri"]) if texts.get("uri") else {}
    found |= {name: texts[name] for name in _KEYS if texts.get(name)}
    if lacking := [name for name in ("host", "database", "username", "password") if not found.get(name)]:
        raise LoginError(f"it lacks {', '.join(lacking)} (or a uri with them)")
    port = found.get("port") or str(PORT)
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _LAST_PORT):
        raise LoginError("its port is no number of a port")
    address = Address(found["host"], int(port), found["database"])
    return LoginData(address, found["username"], found["password"], texts.get("ca.crt", ""))


def files(address: Address, role: str, password: str) -> dict[str, bytes]:
    """Data of the Secret that pods mount."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    login, database = f"{quote(role, safe='')}:{quote(password, safe='')}", quote(address.database, safe="")
    found = {
        "type": "postgresql",
        "host": address.host,
        "port": str(address.port),
        "database": address.database,
        "username": role,
        "password": password,
        "uri": f"postgresql://{login}@{host}:{address.port}/{database}",
    }
    return {name: text.encode() for name, text in found.items()}


def same(one: Address, other: Address, namespace: str) -> bool:
    """Whether both mean the same database, by any of the names that a Service has within the cluster."""
    return (_plain(one.host, namespace), *one[1:]) == (_plain(other.host, namespace), *other[1:])


def _plain(host: str, namespace: str) -> str:
    found = host.lower().rstrip(".")
    for tail in (".cluster.local", ".svc", f".{namespace}"):
        found = found.removesuffix(tail)
    return found


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise LoginError(f"its {name} is no text") from None


def _of_uri(uri: str) -> dict[str, str]:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise LoginError("its uri is none") from None  # no chaining: the error repeats parts of the uri
    if not parts.scheme.startswith("postgres"):
        raise LoginError("its uri is none of PostgreSQL")
    found = {
        "host": unquote(host),
        "port": str(port or ""),
        "database": unquote(parts.path.removeprefix("/")),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    return {name: text for name, text in found.items() if text}
