"""PostgreSQL: deadlines that reach SQL, logins that change while it works, lost connections noticed for free.

Failure policy: nothing here swallows a database error. `Database.read` repeats a read once when its connection was
lost; everything else raises, and the edge turns a lost or exhausted database into a 503 problem. A read that gets no
answer within `request_deadline` is a TimeoutError, and its connection is dropped: nobody waits for a dead peer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import asyncpg
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.context.deadline import remaining
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.connections import Connections, drop
from slipway.storage.login import Encryption, Login, LoginError, encryption_of
from slipway.storage.presence import Presence
from slipway.storage.reading import REFUSED, ReadingSession
from slipway.storage.statements import Row, Statement
from slipway.storage.unit import Transaction, commit
from slipway.telemetry.spans import recording, span
from slipway.telemetry.sql import log_query, statement_name

T = TypeVar("T")
logger = logging.getLogger("slipway.storage")

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError)
"""What asyncpg raises on a lost connection; InternalClientError when the server's last words are there, its FIN not."""

FAREWELL = 0.5
"""Seconds that a connection which is given up may take to close."""

KEEPALIVE_AFTER = 10
"""Seconds without a packet after which the kernel asks whether the server is still there."""

KEEPALIVE_EVERY = 5
"""Seconds between such questions; the third without an answer ends the connection."""


class DeadlineConnection(asyncpg.Connection):
    """Sends what is left of the request's deadline along with BEGIN, so that no round trip is spent on it."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        left = remaining()
        if left is not None and query.startswith("BEGIN"):
            query = f"{query} SET LOCAL statement_timeout = {max(1, int(left * 1000))}"
        try:
            return await super().execute(query, *args, timeout=timeout)  # type: ignore[no-any-return]
        except asyncpg.InternalClientError as error:
            raise asyncpg.ConnectionDoesNotExistError("The server ended this connection.") from error

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        """SQLAlchemy names a time limit where it gives a connection up: 2 s, each of them lost on a silent peer.

        What remains is enough for PostgreSQL to hear that a statement is cancelled; then the socket is dropped.
        """
        await super().close(timeout=None if timeout is None else min(timeout, FAREWELL))


class Database:
    """One process's PostgreSQL: `unit()` for writes, `read()` for reads, `change_login()` when it rotates.

    Making one raises LoginError when the CA bundle can't be used; PostgreSQL itself needn't be there.
    """

    def __init__(self, settings: Settings, login: Login) -> None:
        self._settings = settings
        self._login = login
        wanted = encryption_of(settings, login)
        self._tls: tuple[Encryption, ssl.SSLContext | str | bool] = wanted, tls_context(wanted)
        self.connections = Connections(
            settings,
            self._connect,
            login_of=lambda connection: connection.slipway_login,
            current=lambda: self._login,
        )
        self._sessions = self.connections.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._presence = Presence(lambda: self.fetch_row("SELECT 1"))

    @property
    def role(self) -> str:
        """The database role that new connections use."""
        return self._login.username

    async def _connect(self) -> Any:
        login = self._login
        try:
            connection = await asyncpg.connect(
                **self._connect_arguments(
                    login,
                    application_name="slipway",
                    statement_timeout=str(int(self._settings.request_deadline * 1000)),
                    idle_in_transaction_session_timeout=str(int(self._settings.request_deadline * 2000)),
                ),
                connection_class=DeadlineConnection,
            )
        except asyncpg.InvalidAuthorizationSpecificationError:
            if login is self._login:
                raise
            # The login changed while this connection was being made, and the old one was locked since.
            return await self._connect()
        except (*LOST, OSError, TimeoutError):
            self._presence.away()
            raise
        connection.slipway_login = login
        if self._settings.debug:
            connection.add_query_logger(log_query)
        drop_when_silent(connection, self._settings.request_deadline)
        return connection

    def _connect_arguments(self, login: Login, **server_settings: str) -> dict[str, Any]:
        """As `connect_arguments`, with one TLS context for all connections: reading the authorities takes 50 ms.

        A changed CA file therefore counts after a restart, as every other setting does.
        """
        wanted = encryption_of(self._settings, login)
        if self._tls[0] != wanted:
            self._tls = wanted, tls_context(wanted)
        return connect_arguments(self._settings, login, tls=self._tls[1], **server_settings)

    async def change_login(self, login: Login) -> None:
        """Use another login from now on: idle connections are closed at once, busy ones after their transaction.

        The new login is tried first; when it can't connect, this raises what asyncpg raises and changes nothing.
        """
        probe = await asyncpg.connect(**self._connect_arguments(login))
        await probe.close(timeout=self._settings.database_connect_timeout)
        # Equal as it may be to the one before, it's another: identity tells the connections of both apart.
        self._login = replace(login)
        self.connections.close_idle()

    async def unit(
        self,
        action: Action,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        then: Callable[[T], Awaitable[None]] | None = None,
        limit: float | None = None,
    ) -> T:
        """Do `work` in one transaction, with its row of the audit log; what is returned is committed.

        `work` may run more than once and does nothing outside of its transaction. `then` is for what follows a
        commit, such as dropping what is cached; its failure is logged. `limit` is how long a statement is waited for
        (seconds), where the work sets another limit than `request_deadline`. Raises what `work` raises, and asyncpg's
        errors.
        """
        result = await commit(self.connections, limit or self._settings.request_deadline, action, work)
        if then is not None:
            try:
                await then(result)
            except Exception:
                # The work is committed and must be reported as such; what is cached ends by its own bound.
                logger.exception("An act after commit failed")
        return result

    async def read(self, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run a read in autocommit; once more on a fresh connection when the first one was lost.

        Raises TimeoutError when that takes longer than `request_deadline`.
        """
        try:
            return await self._read_once(query)
        except (DBAPIError, asyncpg.InternalClientError) as error:
            if isinstance(error, DBAPIError) and not error.connection_invalidated:
                raise
            return await self._read_once(query)

    async def _read_once(self, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
        with self.connections.wanted():
            async with (
                asyncio.timeout(self._settings.request_deadline),
                AsyncSession(
                    self._sessions, sync_session_class=ReadingSession, expire_on_commit=False, autoflush=False
                ) as session,
            ):
                return await query(session)

    async def row(self, statement: Statement, **values: Any) -> Row | None:
        """As `fetch_row`, for a statement that transactions are asked as well. Raises TypeError for one that writes."""
        if statement.writes:
            raise TypeError(REFUSED)
        return await self.fetch_row(statement.text, *statement.arguments(values))

    async def fetch_row(self, query: str, *arguments: object) -> Row | None:
        """The first row of one read in PostgreSQL's own syntax (`$1`): the shortest way there is, for hot paths.

        In autocommit; once more on a fresh connection when the first one was lost. Raises asyncpg's errors, and
        TimeoutError when there is no answer within `request_deadline`.
        """
        if not recording():
            return await self._fetch_row(query, arguments)
        attributes = {"db.system.name": "postgresql", "db.query.text": query}
        with span(statement_name(query), kind=SpanKind.CLIENT, attributes=attributes):
            return await self._fetch_row(query, arguments)

    async def _fetch_row(self, query: str, arguments: tuple[object, ...]) -> Row | None:
        try:
            return await self._fetch_row_once(query, arguments)
        except LOST:
            return await self._fetch_row_once(query, arguments)

    async def _fetch_row_once(self, query: str, arguments: tuple[object, ...]) -> Row | None:
        pooled = await self.connections.take()
        try:
            # The driver's own limit, because asyncio's costs a third of what the driver needs for a row.
            found = await pooled.driver_connection.fetchrow(
                query, *arguments, timeout=self._settings.request_deadline, record_class=Row
            )
        except BaseException:
            # Lost, or left in the middle by a cancellation: nobody else gets it.
            drop(pooled)
            raise
        self.connections.give_back(pooled)
        return cast("Row | None", found)

    async def close(self) -> None:
        await self._presence.close()
        await self.connections.close()


def connect_arguments(
    settings: Settings, login: Login, *, tls: ssl.SSLContext | str | bool | None = None, **server_settings: str
) -> dict[str, Any]:
    """What asyncpg.connect needs to reach the database: address, login, TLS, time limit, and what is set there.

    What the login itself sets goes before `server_settings`. Who connects more than once makes the `tls_context` once
    and passes it. Raises LoginError when login and settings contradict each other.
    """
    return {
        "host": login.host,
        "port": login.port,
        "user": login.username,
        "password": login.password.get_secret_value() or None,
        "database": login.database,
        "timeout": login.connect_timeout or settings.database_connect_timeout,
        "ssl": tls_context(encryption_of(settings, login)) if tls is None else tls,
        "server_settings": server_settings | dict(login.server_settings),
    }


def drop_when_silent(connection: Any, seconds: float) -> None:
    """Have the kernel close the socket when its peer has said nothing for `seconds`, in use or idle."""
    link: socket.socket | None = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg has no other way
    if link is None or link.family == socket.AF_UNIX:
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limits = {
        "TCP_KEEPIDLE": KEEPALIVE_AFTER,
        "TCP_KEEPINTVL": KEEPALIVE_EVERY,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": max(1, int(seconds * 1000)),
    }
    for name, value in limits.items():
        option: int | None = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            link.setsockopt(socket.IPPROTO_TCP, option, value)


def tls_context(encryption: Encryption) -> ssl.SSLContext | str | bool:
    """TLS as asyncpg takes it; False for none. Raises LoginError when the CA bundle can't be used."""
    if encryption.mode in ("disable", "prefer"):
        return "prefer" if encryption.mode == "prefer" else False
    try:
        context = ssl.create_default_context(cafile=encryption.authority)
    except OSError as error:
        kind = "no certificate in it" if isinstance(error, ssl.SSLError) else type(error).__name__
        raise LoginError(f"The CA bundle of the database ({encryption.authority}) can't be used: {kind}.") from None
    context.check_hostname = encryption.mode == "verify-full"
    if encryption.mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context
