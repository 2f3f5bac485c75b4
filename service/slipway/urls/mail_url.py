"""Mail servers' URLs: one server, and nothing but a login."""

from __future__ import annotations

from slipway.urls.server_url import ENCODE, ServerUrl, UrlError


def read_mail_url(url: str) -> ServerUrl:
    """Raises UrlError."""
    fit = url.strip().lower().startswith(("smtp://", "smtps://"))
    read = ServerUrl.read(url) if fit else None
    if read is None or not read.host:
        raise UrlError("must be smtp://host or smtps://host, with user:password@ where needed")
    for name, _ in read.parameters():
        raise UrlError(f"has {read.named(name)}, which Slipway doesn't take: leave it out (smtps:// is TLS at once)")
    if read.path:
        raise UrlError(f"has a path, which no mail server has: {ENCODE}")
    return read
