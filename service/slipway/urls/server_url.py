"""URLs of servers, with a login in them: `scheme://user:password@host:port/path?query`.

Read by hand, because `urlsplit` cuts passwords at `#`, takes a list of hosts for one, and quotes what it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

ENCODE = "percent-encode what the password has of @ : / ? # [ ]"

_SEVERAL = re.compile(r"[,;\s]")
"""What clients of other languages put between hosts; some write a whole URL for each."""
_PLACE = re.compile(r"(\[(?P<v6>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(:(?P<port>[^:]*))?")


class UrlError(ValueError):
    """It isn't understood, or asks for what isn't done here. A sentence without its subject, and without any value."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A URL's parts, decoded but for the query; empty where it has none. `scheme` is in lower case."""

    scheme: str
    user: str
    password: str = field(repr=False)
    host: str
    port: str
    path: str
    query: str = field(repr=False)

    @classmethod
    def read(cls, url: str) -> ServerUrl:
        """Raises UrlError."""
        scheme, separator, rest = url.strip().partition("://")
        if not separator:
            raise UrlError("is no URL")
        rest, _, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        login, _, place = authority.rpartition("@")
        if _SEVERAL.search(place) or "://" in path:
            raise UrlError("names several hosts: name one, such as the Service or proxy that leads to the primary")
        found = _PLACE.fullmatch(place)
        if found is None:
            raise UrlError(f"has a host that is none: {ENCODE}")
        if found["port"] and not is_port(found["port"]):
            raise UrlError(f"has a port that is no number: {ENCODE}")
        user, _, password = login.partition(":")
        return cls(
            scheme=scheme.lower(),
            user=decoded(user),
            password=decoded(password),
            host=decoded(found["v6"] or found["name"] or ""),
            port=found["port"] or "",
            path=decoded(path),
            query=query,
        )

    def parameters(self) -> list[tuple[str, str]]:
        """Names and values of the query, each with both and each once. Raises UrlError."""
        found: dict[str, str] = {}
        for part in filter(None, self.query.split("&")):
            name, _, value = part.partition("=")
            name = decoded(name)
            if not value:
                raise UrlError(f"has {self.named(name)} without a value")
            if name in found:
                raise UrlError(f"has {self.named(name)} twice: say it once")
            found[name] = decoded(value)
        return list(found.items())

    def named(self, parameter: str) -> str:
        """A parameter's name, unless it may be a part of a password that has a `?` and isn't percent-encoded."""
        fit = "@" not in self.query and re.fullmatch(r"[a-zA-Z_]{1,32}", parameter)
        return f"the parameter {parameter}" if fit else "a parameter that is none (or a password that isn't encoded)"


def is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536  # noqa: PLR2004 - what a port may be


def decoded(text: str) -> str:
    """As `unquote`: a `+` stays. Raises UrlError for what no server takes."""
    found = unquote(text)
    if "\0" in found:
        raise UrlError("has a zero byte")
    return found
