"""How the operator connects to PostgreSQL: for how long, and by which name what goes wrong is known."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from slipway_operator.logins import postgres, queries
from slipway_operator.logins.address import Address, LoginData, login_of
from slipway_operator.logins.connecting import TroubleError, connected, logs_in
from slipway_operator.logins.keywords import LoginError
from slipway_operator.logins.postgres import Pair

LOGIN = LoginData(Address("db", 5433, "shop"), "admin", "a-secret")


class Connection:
    """Notes how it was opened and closed."""

    def __init__(self, *, closes: bool = True) -> None:
        self.options: dict[str, Any] = {}
        self.closed_within: float | None = None
        self.terminated = False
        self._closes = closes

    async def close(self, timeout: float) -> None:
        self.closed_within = timeout
        if not self._closes:
            raise TimeoutError

    def is_closed(self) -> bool:
        return self._closes

    def terminate(self) -> None:
        self.terminated = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = Connection()

    async def connect(**options: Any) -> Connection:
        made.options = options
        return made

    monkeypatch.setattr(asyncpg, "connect", connect)
    return made


async def test_a_connection_is_bounded_at_its_beginning_middle_and_end(opened: Connection) -> None:
    async with connected(LOGIN):
        pass
    options = opened.options
    assert (options["host"], options["port"], options["database"], options["user"]) == ("db", 5433, "shop", "admin")
    assert (options["timeout"], options["command_timeout"], opened.closed_within) == (5, 10, 2)
    assert options["statement_cache_size"] == 0  # a pooler may be in between
    assert options["server_settings"]["statement_timeout"] == "8s"
    assert not opened.terminated


@pytest.mark.parametrize(("wished", "seconds"), [(None, 5), (2.0, 2), (60.0, 5)])
async def test_a_secret_s_own_limit_counts_where_it_is_shorter(
    opened: Connection, wished: float | None, seconds: float
) -> None:
    assert await logs_in(replace(LOGIN, connect_seconds=wished))
    assert opened.options["timeout"] == seconds


async def test_a_connection_that_does_not_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = Connection(closes=False)

    async def connect(**_: Any) -> Connection:
        return hangs

    monkeypatch.setattr(asyncpg, "connect", connect)
    async with connected(LOGIN):
        pass
    assert hangs.terminated


async def test_it_is_closed_whatever_happens_inside(opened: Connection) -> None:
    with pytest.raises(TroubleError, match="doesn't answer"):
        async with connected(LOGIN):
            raise ConnectionResetError
    assert opened.closed_within == 2


@pytest.mark.parametrize(
    ("mode", "authority", "host_is_checked"),
    [("verify-full", "", True), ("verify-ca", "", False), ("require", "", None), ("prefer", "", None)],
)
async def test_tls_is_as_the_secret_says(
    opened: Connection, mode: str, authority: str, *, host_is_checked: bool | None
) -> None:
    await logs_in(replace(LOGIN, sslmode=mode, authority=authority))
    found = opened.options["ssl"]
    if host_is_checked is None:
        assert found == mode
    else:
        assert isinstance(found, ssl.SSLContext)
        assert (found.check_hostname, found.verify_mode) == (host_is_checked, ssl.CERT_REQUIRED)


async def test_an_authority_that_is_no_certificate_is_told_and_takes_no_login_for_refused(opened: Connection) -> None:
    broken = replace(LOGIN, sslmode="verify-full", authority="no certificate")
    with pytest.raises(TroubleError) as raised:
        async with connected(broken):
            pass
    assert (raised.value.trouble.reason, raised.value.trouble.lasting) == ("AdminSecretUnusable", True)
    assert await logs_in(broken) is None
    assert opened.options == {}


def said(kind: Callable[[str], Exception], text: str = "no\n  way") -> Exception:
    return kind(text)


@pytest.mark.parametrize(
    ("error", "reason", "lasting", "words"),
    [
        (said(asyncpg.InvalidPasswordError), "AdminRefused", False, "at db:5433 refuses the login of admin"),
        (said(asyncpg.InsufficientPrivilegeError), "AdminLacksRights", True, "what a login needs: no way"),
        (said(asyncpg.LockNotAvailableError), "DatabaseUnreachable", False, "now: no way (SQLSTATE 55P03)"),
        (said(asyncpg.LockNotAvailableError, "x" * 600), "DatabaseUnreachable", False, f"now: {'x' * 512} (SQL"),
        (TimeoutError(), "DatabaseUnreachable", False, "db:5433 doesn't answer (TimeoutError)."),
        (ConnectionError("rejected SSL upgrade"), "DatabaseUnreachable", False, "offers no TLS"),
        (ConnectionError("else"), "DatabaseUnreachable", False, "doesn't answer (ConnectionError)"),
    ],
)
async def test_what_goes_wrong_has_its_reason_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
    lasting: bool,  # noqa: FBT001 - a table's column
    words: str,
) -> None:
    async def connect(**_: Any) -> Connection:
        raise error

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(TroubleError) as raised:
        async with connected(LOGIN):
            pass
    trouble = raised.value.trouble
    assert (trouble.reason, trouble.lasting, words in trouble.message) == (reason, lasting, True), trouble.message
    assert "a-secret" not in trouble.message
    assert await logs_in(LOGIN) is (False if isinstance(error, asyncpg.InvalidPasswordError) else None)


class Changing:
    """A connection in whose transactions nothing is there, and what is executed is noted."""

    def __init__(self) -> None:
        self.executed: list[tuple[Any, ...]] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def execute(self, *statement: Any) -> None:
        self.executed.append(statement)

    async def fetchrow(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize(("left", "limit"), [(60.0, "8000ms"), (8.0, "8000ms"), (3.5, "3500ms")])
async def test_a_change_waits_for_its_turn_eight_seconds_or_as_long_as_the_lease_lets_it(
    monkeypatch: pytest.MonkeyPatch, left: float, limit: str
) -> None:
    connection = Changing()

    @asynccontextmanager
    async def connected(_: LoginData) -> AsyncIterator[Changing]:
        yield connection

    monkeypatch.setattr(postgres, "connected", connected)
    await postgres.fence(LOGIN, Pair(("b", "a"), "shop", "one/shop", left=lambda: left))
    assert connection.executed == [(queries.LOCK, "slipway-operator a b", limit)]
    unbounded = Pair(("b", "a"), "shop", "one/shop")
    assert unbounded.left() == 8


def data(**members: str) -> dict[str, bytes]:
    whole = {"host": "db", "database": "shop", "username": "u", "password": "p", **members}
    return {name: text.encode() for name, text in whole.items()}


def test_ports_are_from_1_to_65535_and_limits_an_hour_at_most() -> None:
    for port in ("1", "65535"):
        assert login_of(data(port=port)).address.port == int(port)
    for port in ("0", "65536", "-1", "٣", "9" * 5000):
        with pytest.raises(LoginError, match="no number from 1 to 65535"):
            login_of(data(port=port))
    assert login_of(data()).address.port == 5432
    uri = "postgresql://u:p@db/shop?connect_timeout="
    assert login_of({"uri": f"{uri}3600".encode()}).connect_seconds == 3600
    with pytest.raises(LoginError, match="no number from 1 to 3600"):
        login_of({"uri": f"{uri}3601".encode()})
