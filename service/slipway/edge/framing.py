"""What a request's head says about where the request ends, decided before anything of it runs (RFC 9112).

The parser is strict with bytes (bare CR or LF, folded lines, odd lengths); what it lets pass is refused here. Whoever
stands before us may read a doubtful head in another way, and then a body could become a request. So there is no
mending: a doubtful head is 400, and its connection ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.http.problems import BadRequestError, ExpectationFailedError

NAMES = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
"""The headers that `check_head` looks at."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
LONGEST_LENGTH = 19
"""Digits of the largest Content-Length that the parser counts to."""


def check_head(method: bytes, version: str, fields: Sequence[tuple[bytes, bytes]]) -> None:
    """`fields` are those of the request's headers that are in `NAMES`. Raises the AppException to end with."""
    if method == b"CONNECT":
        raise BadRequestError("This is no proxy: CONNECT isn't served.")
    if version not in {"1.1", "1.0"}:
        raise BadRequestError("HTTP/1.1 is spoken here, and HTTP/1.0.")
    seen: set[bytes] = set()
    for name, value in fields:
        if name in seen and name != b"expect":
            raise BadRequestError(f"There may be only one {name.decode().title()} header.")
        seen.add(name)
        _CHECKS[name](version, value)
    if b"host" not in seen and version == "1.1":
        raise BadRequestError("A Host header is needed.")
    if b"content-length" in seen and b"transfer-encoding" in seen:
        raise BadRequestError("There may be Content-Length or Transfer-Encoding, not both.")


def _host(_version: str, value: bytes) -> None:
    if not _HOST.fullmatch(value):
        raise BadRequestError("The Host header names no host.")


def _content_length(_version: str, value: bytes) -> None:
    if not value.isdigit() or len(value) > LONGEST_LENGTH:
        raise BadRequestError("Content-Length must be a number.")


def _transfer_encoding(version: str, value: bytes) -> None:
    if version == "1.0":
        raise BadRequestError("HTTP/1.0 has no Transfer-Encoding.")
    if value.lower() != b"chunked":
        raise BadRequestError("The only Transfer-Encoding read here is chunked.")


def _expect(version: str, value: bytes) -> None:
    if version == "1.1" and value.lower() != b"100-continue":
        raise ExpectationFailedError


_CHECKS = {
    b"host": _host,
    b"content-length": _content_length,
    b"transfer-encoding": _transfer_encoding,
    b"expect": _expect,
}


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """The authority of a target in absolute form (else None), and its path with query. Raises BadRequestError.

    The authority goes before the Host header (RFC 9112 3.2.2).
    """
    if target[:1] == b"/" and b"#" not in target:
        return None, target
    if target == b"*" and method == b"OPTIONS":
        return None, target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _HOST.fullmatch(absolute[1]):
        raise BadRequestError("The request's target is no path and no http address.")
    path = absolute[2]
    return absolute[1], path if path[:1] == b"/" else b"/" + path
