"""PostgreSQL's URLs and Secrets, read into libpq's keywords. Pure; what it says never repeats what it read.

Nothing is dropped: a parameter is taken over, does nothing here that isn't done anyway, or is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from slipway.urls.server_url import ServerUrl, UrlError

TlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
MODES: tuple[TlsMode, ...] = ("disable", "prefer", "require", "verify-ca", "verify-full")
"""Each stronger than those before it. `allow` is taken for `prefer`."""

ADDRESS = ("host", "port", "dbname", "user", "password")
TAKEN = (*ADDRESS, "sslmode", "sslrootcert", "connect_timeout", "application_name", "options")

DONE_ANYWAY: Mapping[str, str] = {
    "channel_binding": "disable|prefer",
    "client_encoding": "auto|utf-?8|unicode",
    "fallback_application_name": ".*",  # there is always an application_name
    "gssencmode": "disable|prefer",
    "load_balance_hosts": "disable",
    "sslcompression": "0",
    "sslnegotiation": "postgres",
    "target_session_attrs": "any",
}
"""Parameters, and the values of theirs that ask for nothing; with any other they are refused."""

MEMBERS: Mapping[str, str] = {
    "host": "host",
    "port": "port",
    "database": "dbname",
    "dbname": "dbname",
    "username": "user",
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
}
"""Keywords by the files that Service Binding, CloudNativePG, Crunchy, Zalando and RDS name."""

SHAPE = "postgresql://user:password@host:port/name"
NO_NAME = "*"
"""What CloudNativePG writes for the database of its superuser."""

_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?", re.IGNORECASE)


def keywords_of_url(url: str) -> dict[str, str]:
    """What a URL says, by libpq's keywords; what it leaves out, or leaves empty, is left out. Raises UrlError."""
    scheme = url.strip().partition("://")[0]
    if scheme.lower().startswith("jdbc:"):
        raise UrlError(f"is one for JDBC: write {SHAPE}")
    if not _SCHEME.fullmatch(scheme):
        raise UrlError(f"must start with postgresql://, as in {SHAPE}")
    read = ServerUrl.read(url)
    told = {"host": read.host, "port": read.port, "dbname": read.path, "user": read.user, "password": read.password}
    found = {keyword: value for keyword, value in told.items() if value and (keyword, value) != ("dbname", NO_NAME)}
    for keyword, value in _parameters(read).items():
        if found.setdefault(keyword, value) != value:
            raise UrlError(f"says {keyword} twice, each time something else: say it once")
    return found


def _parameters(url: ServerUrl) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in url.parameters():
        keyword, value = name, text
        if name == "ssl":  # as JDBC, and SQLAlchemy for asyncpg, write it
            keyword, value = "sslmode", {"true": "require", "false": "disable"}.get(text, text)
        if keyword in found:
            raise UrlError(f"says {keyword} twice: say it once")
        if keyword in TAKEN:
            found[keyword] = value
        elif keyword not in DONE_ANYWAY:
            raise UrlError(f"has {url.named(keyword)}, which Slipway doesn't take: leave it out")
        elif not re.fullmatch(DONE_ANYWAY[keyword], value, re.IGNORECASE):
            raise UrlError(f"asks by {keyword} for what Slipway doesn't do")
    return found


def keywords_of_members(members: Mapping[str, str]) -> dict[str, str]:
    """What a Secret's members say together with its `uri`. Raises UrlError where two of them contradict each other.

    Of a host's names, such as `db` and `db.ships.svc`, the longest counts: it leads there from everywhere.
    """
    found: dict[str, str] = {}
    said_by: dict[str, str] = {}
    for member, keyword in MEMBERS.items():
        value = members.get(member, "")
        if value and (keyword, value) != ("dbname", NO_NAME):
            _say(found, said_by, keyword, value, member)
    if members.get("uri"):
        try:
            written = keywords_of_url(members["uri"])
        except UrlError as error:
            raise UrlError(f"holds a uri that {error}") from None
        if "host" in written:
            written.setdefault("port", "5432")
        for keyword, value in written.items():
            _say(found, said_by, keyword, value, "uri")
    return found


def _say(found: dict[str, str], said_by: dict[str, str], keyword: str, value: str, member: str) -> None:
    earlier = found.get(keyword)
    if earlier is None or earlier == value:
        found.setdefault(keyword, value)
        said_by.setdefault(keyword, member)
    elif keyword == "host" and _same_host(earlier, value):
        found[keyword] = max(earlier, value, key=len)
    elif keyword == "sslmode":
        found[keyword] = strongest(earlier, value)
    else:
        raise UrlError(f"contradicts itself: {said_by[keyword]} and {member} say different things")


def _same_host(one: str, other: str) -> bool:
    short, long = sorted((one.lower().rstrip("."), other.lower().rstrip(".")), key=len)
    return short == long or long.startswith(f"{short}.")


def completed(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """What the first says, and where it says nothing the second. A port belongs to its host; TLS is the stronger."""
    rest = {keyword: value for keyword, value in second.items() if keyword != "port" or "host" not in first}
    found = rest | dict(first)
    if "sslmode" in first and "sslmode" in second:
        found["sslmode"] = strongest(first["sslmode"], second["sslmode"])
    return found


def mode_of(text: str) -> TlsMode:
    """Raises UrlError."""
    mode = "prefer" if text == "allow" else text
    if mode not in MODES:
        raise UrlError("has an sslmode that is none of disable, allow, prefer, require, verify-ca, verify-full")
    return mode


def strongest(*modes: str) -> TlsMode:
    """Raises UrlError."""
    return max(map(mode_of, modes), key=MODES.index)
