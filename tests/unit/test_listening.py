"""Where processes listen: both families by sockets of their own, and whichever of them a machine has."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import slipway.listening
import slipway_operator.listening
from slipway.listening import ListenError
from slipway.local.standalone import url_here

MODULES = {"service": slipway.listening, "operator": slipway_operator.listening}
Listen = Callable[[str, int], list[socket.socket]]


@pytest.fixture(params=list(MODULES))
def module(request: pytest.FixtureRequest) -> ModuleType:
    return MODULES[request.param]


@pytest.fixture
def listen(module: ModuleType) -> Iterator[Listen]:
    """What opens sockets in each half; those of a test are closed after it."""
    opened: list[socket.socket] = []

    def listen(host: str, port: int) -> list[socket.socket]:
        more = ("SLIPWAY_PORT",) if module is slipway.listening else ()
        opened.extend(found := module.listen(host, port, *more))
        return list(found)

    yield listen
    for each in opened:
        each.close()


def lacking(module: ModuleType, monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, code: int) -> None:
    """A machine on which no socket of that family is to be had, as the kernel says it by `code`."""
    real = module.one_socket

    def made(asked: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if asked == family:
            raise OSError(code, "absent")
        return real(asked, address, port)

    monkeypatch.setattr(module, "one_socket", made)


@pytest.mark.parametrize("host", ["*", "::", "0::0"])
def test_everywhere_is_a_socket_for_each_family_on_one_port(listen: Listen, host: str) -> None:
    four, six = listen(host, 0)
    assert (four.family, six.family) == (socket.AF_INET, socket.AF_INET6)
    assert four.getsockname()[0] == "0.0.0.0"  # noqa: S104 - what is compared
    assert four.getsockname()[1] == six.getsockname()[1] != 0


def test_a_client_of_ipv4_is_seen_by_its_own_address(listen: Listen) -> None:
    # By one socket for both it would be ::ffff:127.0.0.1, which is in no network of trusted proxies.
    four, six = listen("*", 0)
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    four.listen()
    with socket.create_connection(("127.0.0.1", four.getsockname()[1]), timeout=5) as client:
        four.setblocking(True)
        connection, address = four.accept()
        connection.close()
        assert address == client.getsockname()


@pytest.mark.parametrize(
    ("host", "bound"),
    [("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"]), ("0.0.0.0", ["0.0.0.0"])],  # noqa: S104
)
def test_an_address_is_that_one_alone(listen: Listen, host: str, bound: list[str]) -> None:
    assert [each.getsockname()[0] for each in listen(host, 0)] == bound


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL], ids=["no family", "no address"])
@pytest.mark.parametrize(
    ("absent", "left"), [(socket.AF_INET6, socket.AF_INET), (socket.AF_INET, socket.AF_INET6)], ids=["IPv6", "IPv4"]
)
def test_where_a_family_is_off_the_other_one_serves(
    module: ModuleType, listen: Listen, monkeypatch: pytest.MonkeyPatch, absent: Any, left: Any, code: int
) -> None:
    lacking(module, monkeypatch, absent, code)
    assert [each.family for each in listen("*", 0)] == [left]


def test_where_an_address_is_wished_that_is_not_there_nothing_serves_instead(
    module: ModuleType, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(module, monkeypatch, socket.AF_INET6, errno.EAFNOSUPPORT)
    with pytest.raises(OSError, match="absent"):
        listen("::1", 0)


@pytest.mark.parametrize("taken", [("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)], ids=["IPv4", "IPv6"])  # noqa: S104
def test_a_port_that_is_taken_in_one_family_is_an_error(listen: Listen, taken: tuple[str, Any]) -> None:
    address, family = taken
    with socket.socket(family, socket.SOCK_STREAM) as other:
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind((address, 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            listen("*", other.getsockname()[1])


def test_a_chosen_port_that_is_taken_in_the_other_family_is_chosen_anew(
    module: ModuleType, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = module.one_socket, [True, True]

    def made(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6 and taken:
            taken.pop()
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, address, port)

    monkeypatch.setattr(module, "one_socket", made)
    four, six = listen("*", 0)
    assert four.getsockname()[1] == six.getsockname()[1]
    assert taken == []


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("", 8000, "set SLIPWAY_HOST to an address of this machine, or [*] for all"),
        ("192.0.2.1", 8000, "Can't listen on 192.0.2.1:8000"),
        ("192.0.2.1", 8000, "set SLIPWAY_HOST to an address of this machine, or [*] for all"),
        ("2001:db8::1", 8000, r"Can't listen on \[2001:db8::1\]:8000"),
    ],
)
def test_what_can_not_be_listened_on_is_said_with_the_setting_to_change(host: str, port: int, said: str) -> None:
    with pytest.raises(ListenError, match=said):
        slipway.listening.listen(host, port, "SLIPWAY_PORT")


def test_a_taken_port_is_said_with_its_setting(listen: Listen) -> None:
    (other,) = listen("127.0.0.1", 0)
    other.listen()
    with pytest.raises(ListenError, match=r"in use\): set SLIPWAY_OPS_PORT to a free port"):
        slipway.listening.listen("127.0.0.1", other.getsockname()[1], "SLIPWAY_OPS_PORT")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("*", "http://127.0.0.1:1"),
        ("::", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
        ("localhost", "http://localhost:1"),
    ],
)
def test_who_listens_everywhere_is_found_on_this_machine(host: str, url: str) -> None:
    assert url_here(host, 1) == url
