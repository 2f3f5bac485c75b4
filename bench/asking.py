"""Single requests to a server on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

TIMEOUT = 30.0


class UnexpectedStatusError(RuntimeError):
    """A reply has another status than the benchmark is about."""


def ask(
    port: int,
    path: str,
    *,
    form: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    connection: HTTPConnection | None = None,
) -> tuple[int, bytes]:
    """GET, or POST of a form, on a connection of its own unless one is given; status and body. Raises OSError."""
    used = connection or HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if form is None:
            used.request("GET", path)
        else:
            used.request("POST", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
        response = used.getresponse()
        return response.status, response.read()
    except HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        if connection is None:
            used.close()


def answers(port: int, path: str) -> bool:
    """Whether it says 200 now."""
    try:
        return ask(port, path, timeout=2)[0] == 200
    except OSError:
        return False
