"""What a Secret's members and its `uri` say together, by libpq's keywords. Pure; messages have names, never values.

A parameter of a `uri` is taken over, asks for nothing that isn't done anyway, or is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""Of `sslmode`, each stronger than those before it."""
MEMBERS = {
    "host": "host",
    "port": "port",
    "database": "dbname",
    "dbname": "dbname",
    "username": "user",
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
}
"""Keywords by the members that Service Binding, CloudNativePG, Crunchy, Zalando and RDS name."""
_TAKEN = {*MEMBERS.values(), "sslrootcert", "connect_timeout", "application_name", "options"}
_DONE_ANYWAY = {
    "channel_binding": "disable|prefer",
    "client_encoding": "auto|utf-?8|unicode",
    "fallback_application_name": ".*",
    "gssencmode": "disable|prefer",
    "load_balance_hosts": "disable",
    "sslcompression": "0",
    "sslnegotiation": "postgres",
    "target_session_attrs": "any",
}
"""Parameters, and the values of theirs that ask for nothing."""
_NO_NAME = ("dbname", "*")
"""What CloudNativePG writes for the database of its superuser."""
_URI = re.compile(
    r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://"
    r"(?:(?P<user>[^:/?]*)(?::(?P<password>[^/?]*))?@)?"
    r"(?:\[(?P<v6>[^][]*)\]|(?P<host>[^][:/?@]*))(?::(?P<port>[^:/?@]*))?"
    r"(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)


class LoginError(ValueError):
    """The Secret holds no login; the message says what lacks, never what it holds."""


def keywords_of(members: Mapping[str, str]) -> dict[str, str]:
    """Raises LoginError, also where two members contradict each other.

    `host` may be another name of the `uri`'s, such as `db` beside `db.ships.svc`; of two `sslmode` the stronger counts.
    """
    told = [(keyword, members[name], name) for name, keyword in MEMBERS.items() if members.get(name)]
    if members.get("uri"):
        written = _of_uri(members["uri"])
        if "host" in written:
            written.setdefault("port", "5432")
        told += [(keyword, value, "uri") for keyword, value in written.items()]
    found: dict[str, tuple[str, str]] = {}
    for keyword, value, name in told:
        if (keyword, value) == _NO_NAME:
            continue
        earlier, by = found.setdefault(keyword, (value, name))
        if keyword == "sslmode":
            found[keyword] = max(earlier, value, key=_strength), name
        elif earlier != value and not (keyword == "host" and _same_host(earlier, value)):
            raise LoginError(f"its {by} and its {name} say different things")
    return {keyword: value for keyword, (value, _) in found.items()}


def completed(found: Mapping[str, str], address: str) -> dict[str, str]:
    """With what an address says where the Secret says nothing. A port belongs to its host. Raises LoginError."""
    if not address:
        return dict(found)
    elsewhere = _of_uri(address, "address")
    whole = {name: value for name, value in elsewhere.items() if name != "port" or "host" not in found} | dict(found)
    if "sslmode" in elsewhere:
        whole["sslmode"] = max(elsewhere["sslmode"], whole["sslmode"], key=_strength)
    return whole


def _strength(mode: str) -> int:
    if mode not in MODES:
        raise LoginError(f"its sslmode is none of {', '.join(MODES)}")
    return MODES.index(mode)


def _same_host(one: str, other: str) -> bool:
    short, long = sorted((one.lower().rstrip("."), other.lower().rstrip(".")), key=len)
    return short == long or long.startswith(f"{short}.")


def _of_uri(uri: str, what: str = "uri") -> dict[str, str]:
    if uri.lower().startswith("jdbc:"):
        raise LoginError(f"its {what} is one for JDBC; write postgresql://user:password@host:port/name")
    found = _URI.fullmatch(uri)
    if found is None:
        several = uri.partition("?")[0].rpartition("@")[2].partition("/")[0].count(",")
        raise LoginError(f"its {what} {'names several hosts; name one' if several else 'is none of PostgreSQL'}")
    parts = {name: unquote(text) for name, text in found.groupdict("").items() if name != "query"}
    parts["host"] = parts.pop("v6") or parts["host"]
    if "," in parts["host"]:
        raise LoginError(f"its {what} names several hosts; name one")
    said = {keyword: value for keyword, value in parts.items() if value}
    for keyword, value in _parameters(found["query"] or "", what).items():
        if said.setdefault(keyword, value) != value:
            raise LoginError(f"its {what} says {keyword} twice, each time something else")
    return said


def _parameters(query: str, what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, text = part.partition("=")
        keyword, value = unquote(name), unquote(text)
        if keyword == "ssl":  # as JDBC, and SQLAlchemy for asyncpg, write it
            keyword, value = "sslmode", {"true": "require", "false": "disable"}.get(value, value)
        # A password that has a `?` and isn't percent-encoded mustn't be shown as a parameter's name.
        shown = keyword if "@" not in query and re.fullmatch(r"[a-zA-Z_]{1,32}", keyword) else "a parameter"
        if not value:
            raise LoginError(f"its {what} has {shown} without a value")
        if keyword in found:
            raise LoginError(f"its {what} says {shown} twice")
        if keyword in _TAKEN:
            found[keyword] = value
        elif not re.fullmatch(_DONE_ANYWAY.get(keyword, ""), value, re.IGNORECASE):
            raise LoginError(f"its {what} asks by {shown} for what the operator doesn't do")
    return found
