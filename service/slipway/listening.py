"""Opens the sockets that a process listens on, before anything is started: a taken port costs nothing then."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

EVERYWHERE: list[tuple[socket.AddressFamily, str]] = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 - what a person wrote `*` for
_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
"""Said of an address that this machine hasn't, or of its whole family."""

PORTS = 20
"""How often a port that was free in one family is chosen anew because it is taken in the other."""


class ListenError(OSError):
    """An address can't be listened on; the message names the setting to change."""


def listen(host: str, port: int, setting: str) -> list[socket.socket]:
    """A socket for each address that `host` stands for, all with one port; 0 chooses one. `setting` is the port's.

    `*` and `::` are every address. IPv4 and IPv6 have a socket each, for one of both would show IPv4's clients as
    `::ffff:…`, which no network of trusted proxies holds. What this machine hasn't is left out, unless that is all.
    Raises ListenError.
    """
    try:
        return _listen(host, port)
    except OSError as error:
        where = f"[{host}]" if ":" in host else host
        remedy = f"set {setting} to a free port"
        if isinstance(error, socket.gaierror) or error.errno in _ABSENT:
            remedy = f"set {setting.replace('PORT', 'HOST')} to an address of this machine, or * for all"
        reason = error.strerror or type(error).__name__
        raise ListenError(f"Can't listen on {where}:{port} ({reason}): {remedy}.") from None


def _listen(host: str, port: int) -> list[socket.socket]:
    for _ in range(PORTS - 1):
        try:
            return _bound(_addresses(host, port), port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _bound(_addresses(host, port), port)


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """By family, as they are to be bound. Raises gaierror for a name that nobody knows."""
    if host == "*":
        return EVERYWHERE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((family, str(address[0])) for family, *_, address in found)
    if (socket.AF_INET6, "::") in addresses:
        return EVERYWHERE
    return list(addresses)


def _bound(addresses: list[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        absent: OSError | None = None
        for family, address in addresses:
            try:
                bound = one_socket(family, address, sockets[0].getsockname()[1] if sockets else port)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
            else:
                sockets.append(opened.enter_context(bound))
        if absent is not None and not sockets:
            raise absent
        opened.pop_all()
        return sockets


def one_socket(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
