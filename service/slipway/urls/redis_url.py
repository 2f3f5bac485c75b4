"""Redis' URLs: one server, a database number, and nothing that would weaken TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.urls.server_url import ENCODE, ServerUrl, UrlError

SHAPE = "redis://user:password@host:6379/0, or rediss:// with TLS"
INSTEAD = "name one server, such as the Service or proxy that leads to the primary"
OTHER_KINDS = {"sentinel": "Sentinel", "cluster": "a cluster"}
"""What a scheme or a parameter with this word in it is for."""
OTHER_SCHEMES = {**OTHER_KINDS, "unix": "a Unix socket", "socket": "a Unix socket"}


def address_of(url: str) -> dict[str, Any]:
    """What the URL says, as `redis` takes it, and `tls`. Raises UrlError.

    `db` is the only parameter taken: the client would let others switch verification off.
    """
    scheme = url.strip().partition("://")[0].lower()
    _refuse(OTHER_SCHEMES, scheme)
    if scheme not in ("redis", "rediss"):
        raise UrlError(f"must look like {SHAPE}")
    read = ServerUrl.read(url)
    if not read.host:
        raise UrlError(f"has no host: it must look like {SHAPE}")
    number = read.path.strip("/")
    for name, value in read.parameters():
        if name != "db":
            _refuse(OTHER_KINDS, name.lower())
            raise UrlError(
                f"has {read.named(name)}, which Slipway doesn't take: leave it out "
                "(rediss:// always verifies; the time limit is SLIPWAY_REDIS_TIMEOUT)"
            )
        if number not in ("", value):
            raise UrlError("says the database twice, each time something else: say it once")
        number = value
    if number and not (number.isascii() and number.isdigit()):
        raise UrlError(
            f"takes the number of a database after the host, and nothing else: {ENCODE}; "
            f"where it is Sentinel's name of a server, {INSTEAD}"
        )
    return {
        "tls": scheme == "rediss",
        "host": read.host,
        "port": int(read.port or 6379),
        "db": int(number or 0),
        "username": read.user or None,
        "password": read.password or None,
    }


def _refuse(kinds: Mapping[str, str], named: str) -> None:
    if kind := next((what for word, what in kinds.items() if word in named), None):
        raise UrlError(f"is one for {kind}, which Slipway doesn't take: {INSTEAD}, as {SHAPE}")
