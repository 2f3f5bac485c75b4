"""Opens the sockets that the ops port listens on."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

_EVERYWHERE: list[tuple[socket.AddressFamily, str]] = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 - what a person wrote `*` for
_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
"""Said of an address that this machine hasn't, or of its whole family."""

_PORTS = 20
"""How often a port that was free in one family is chosen anew because it is taken in the other."""


def listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that `host` stands for, all with one port; 0 chooses one.

    `*` and `::` are every address, by a socket each for IPv4 and IPv6. What this machine hasn't is left out, unless
    that is all. Raises OSError.
    """
    for _ in range(_PORTS - 1):
        try:
            return _bound(_addresses(host, port), port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _bound(_addresses(host, port), port)


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    if host == "*":
        return _EVERYWHERE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((family, str(address[0])) for family, *_, address in found)
    if (socket.AF_INET6, "::") in addresses:
        return _EVERYWHERE
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
