"""Secrets with a login to PostgreSQL, as Service Binding and others name its parts: read and written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from slipway_operator.logins.keywords import MEMBERS, LoginError, completed, keywords_of

PORT = 5432
_LAST_PORT = 65535
FILES = ("type", "host", "port", "database", "username", "password", "uri")
"""Keys of the Secret that pods mount."""
_NEEDED = {"host": "host", "dbname": "database", "user": "username", "password": "password"}
_SYSTEM = "system"


class Address(NamedTuple):
    host: str
    port: int
    database: str


@dataclass(frozen=True, slots=True)
class LoginData:
    """`authority`: PEM of the CA that must have signed the server's certificate; empty: the system's, any, or no TLS.

    `sslmode`: what is asked for beside it, at least `prefer`. `connect_seconds`: the Secret's own, shorter limit.
    """

    address: Address
    user: str
    password: str = field(repr=False)
    authority: str = field(default="", repr=False)
    sslmode: str = "prefer"
    connect_seconds: float | None = None
    settings: tuple[tuple[str, str], ...] = ()
    reached_at: str = ""
    """What the operator must call the host, where that isn't what the Secret's namespace calls it; empty: the same."""


def login_of(data: Mapping[str, bytes], address: str = "") -> LoginData:
    """Understand the members of a Secret, its `uri`, or both, and `address` for what they lack. Raises LoginError."""
    texts = {name: _text(name, content) for name, content in data.items() if name in (*MEMBERS, "uri", "ca.crt")}
    found = completed(keywords_of(texts), address)
    if lacking := [name for keyword, name in _NEEDED.items() if not found.get(keyword)]:
        raise LoginError(f"it lacks {', '.join(lacking)} (or a uri with them)")
    if "," in found["host"]:
        raise LoginError("its host is a list; name one")
    authority = texts.get("ca.crt", "")
    return LoginData(
        Address(found["host"], _number("port", found.get("port") or str(PORT), _LAST_PORT), found["dbname"]),
        found["user"],
        found["password"],
        authority,
        _sslmode(found, authority),
        _number("connect_timeout", found["connect_timeout"], 3600) if "connect_timeout" in found else None,
        tuple((name, found[name]) for name in ("application_name", "options") if name in found),
    )


def _sslmode(found: Mapping[str, str], authority: str) -> str:
    """Never less than was asked for; a CA that the operator has, or the system's, is checked in full."""
    if authority:
        return "verify-full"
    bundle, mode = found.get("sslrootcert", ""), found.get("sslmode", "prefer")
    if bundle == _SYSTEM and mode == "verify-full":
        return mode
    if bundle:
        raise LoginError("its uri names by sslrootcert a file that the operator hasn't; put the CA into ca.crt")
    return "prefer" if mode in ("disable", "allow") else mode


def _number(name: str, text: str, highest: int) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= highest):
        raise LoginError(f"its {name} is no number from 1 to {highest}")
    return int(text)


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


def reached_at(host: str, namespace: str, own: str) -> str:
    """What somebody in namespace `own` (empty: unknown) calls a host of `namespace`; empty: the same.

    A name without a dot is a Service of the namespace that it is looked up in: elsewhere it is another server's, or
    nobody's.
    """
    bare = "." not in host and ":" not in host and host.lower() != "localhost"
    return f"{host}.{namespace}.svc" if bare and own not in ("", namespace) else ""


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
