"""Opens a connection to PostgreSQL, and says by which name what went wrong is known."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from slipway_operator.logins.address import LoginData
from slipway_operator.logins.model import Trouble

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
CLOSE_SECONDS = 2.0
SETTINGS = {
    "application_name": "slipway-operator",
    "statement_timeout": "8s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
}
"""The server gives up before the client does, also on one that stands still with a lock in its hands."""
_MESSAGE_LIMIT = 512


class TroubleError(Exception):
    """What keeps the operator from its work in the database; never with a password, whole statement or verifier."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@asynccontextmanager
async def connected(login: LoginData) -> AsyncIterator[Any]:
    """A connection for one look or change, closed after it. Raises TroubleError, also for what happens inside.

    With `ca.crt` the server must prove its name by a certificate of that CA (as sslmode verify-full); without, TLS is
    used as the Secret's sslmode says, and where the server offers it (as sslmode prefer) if it says less.
    """
    try:
        connection = await _opened(login)
        try:
            yield connection
        finally:
            await _closed(connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        # No chaining: what is logged of it is the trouble alone.
        raise TroubleError(_understood(error, login)) from None


async def logs_in(login: LoginData) -> bool | None:
    """Whether the server takes the password; None when that can't be told now."""
    try:
        connection = await _opened(login)
    except asyncpg.InvalidPasswordError:
        return False
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, TroubleError):
        return None
    await _closed(connection)
    return True


async def _opened(login: LoginData) -> Any:
    host, port, database = login.address
    return await asyncpg.connect(
        host=login.reached_at or host,
        port=port,
        database=database,
        user=login.user,
        password=login.password,
        ssl=_verified(login) if login.sslmode.startswith("verify") else login.sslmode,
        timeout=min(CONNECT_SECONDS, login.connect_seconds or CONNECT_SECONDS),
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=0,
        server_settings=SETTINGS | dict(login.settings),
    )


async def _closed(connection: Any) -> None:
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        await connection.close(timeout=CLOSE_SECONDS)
    if not connection.is_closed():
        connection.terminate()


def _verified(login: LoginData) -> ssl.SSLContext:
    """By the Secret's CA, or by the system's."""
    try:
        context = ssl.create_default_context(cadata=login.authority or None)
    except (ssl.SSLError, ValueError):
        text = "ca.crt of the admin's Secret holds no certificate."
        raise TroubleError(Trouble("AdminSecretUnusable", text, lasting=True)) from None
    context.check_hostname = login.sslmode == "verify-full"
    return context


def _understood(error: Exception, login: LoginData) -> Trouble:
    where = f"{login.address.host}:{login.address.port}"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        text = f"PostgreSQL at {where} refuses the login of {login.user}: correct the admin's Secret."
        return Trouble("AdminRefused", text)
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        text = f"PostgreSQL doesn't let {login.user} do what a login needs: {_said(error)}"
        return Trouble("AdminLacksRights", text, lasting=True)
    if isinstance(error, asyncpg.PostgresError):
        text = f"PostgreSQL at {where} can't do that now: {_said(error)} (SQLSTATE {error.sqlstate})"
        return Trouble("DatabaseUnreachable", text)
    return Trouble("DatabaseUnreachable", f"PostgreSQL at {where} {_of_the_way(error)}.")


def _of_the_way(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"isn't trusted ({error.verify_message}): put the CA of its certificate into ca.crt of the Secret"
    if isinstance(error, ConnectionError) and "rejected SSL" in str(error):
        return "offers no TLS, which the admin's Secret asks for by sslmode"
    return f"doesn't answer ({type(error).__name__})"


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LIMIT]
