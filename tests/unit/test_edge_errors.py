"""What a client is told when something goes wrong inside."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import exc as sqlalchemy_errors
from starlette.responses import Response, StreamingResponse

from servers.asgi import WholeEdge, call
from slipway.edge import guard as guard_module
from slipway.edge.faults import as_problem
from slipway.http.problems import ConflictError, DeadlineExceededError
from slipway.settings import Settings


class Raises:
    """An application that raises what it is told to."""

    def __init__(self) -> None:
        self.error: BaseException = ValueError("password=hunter2 in row 7")
        self.app = app = FastAPI()

        @app.get("/raise")
        async def fail() -> None:
            raise self.error

        @app.get("/silent")
        async def silent() -> Response:
            return Silent()

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(self._half())

    async def _half(self) -> AsyncIterator[bytes]:
        yield b"half"
        raise self.error


class Silent(Response):
    """A reply that says nothing."""

    async def __call__(self, *_: Any) -> None:
        return


@pytest.fixture
def raises() -> Raises:
    return Raises()


@pytest.fixture
def whole(raises: Raises) -> WholeEdge:
    return WholeEdge(raises.app, Settings())


async def test_a_fault_of_ours_is_500_and_tells_nothing_but_the_request_id(
    whole: WholeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await call(whole.edge, path="/raise", headers={"X-Request-ID": "find-me"})
    assert (reply.status, reply.json["error"], reply.json["request_id"]) == (500, "internal_error", "find-me")
    assert reply.headers["content-type"] == "application/problem+json"
    assert b"hunter2" not in reply.body
    assert "ValueError" not in reply.body.decode()
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


async def test_without_the_edge_inside_fastapis_own_error_layer_the_500_is_no_problem(
    whole: WholeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.edge.edge.inner_application", lambda app: app)
    reply = await call(whole.edge, path="/raise")
    assert reply.body == b"Internal Server Error"


async def test_an_exception_for_clients_is_rendered_as_it_says(whole: WholeEdge, raises: Raises) -> None:
    raises.error = ConflictError("Taken.", headers={"X-Extra": "1"})
    reply = await call(whole.edge, path="/raise")
    assert (reply.status, reply.json["message"], reply.headers["x-extra"]) == (409, "Taken.", "1")


def _wrapped(original: Exception, *, lost: bool = False) -> sqlalchemy_errors.DBAPIError:
    return sqlalchemy_errors.DBAPIError("SELECT 1", {}, original, connection_invalidated=lost)


AWAY = [
    ConnectionRefusedError(111, "refused"),
    OSError("Multiple exceptions: [Errno 111] …"),
    TimeoutError(),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.TooManyConnectionsError("too many"),
    asyncpg.ConnectionDoesNotExistError("gone"),
    sqlalchemy_errors.TimeoutError("QueuePool limit"),
    sqlalchemy_errors.OperationalError("SELECT 1", {}, Exception("server closed")),
    sqlalchemy_errors.InterfaceError("SELECT 1", {}, Exception("connection is closed")),
    _wrapped(Exception("reset"), lost=True),
    _wrapped(asyncpg.AdminShutdownError("terminating")),
    _wrapped(asyncpg.IdleInTransactionSessionTimeoutError("idle")),
    asyncpg.InvalidPasswordError("password authentication failed"),
    asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
    asyncpg.InvalidCatalogNameError("database does not exist"),
    _wrapped(asyncpg.ReadOnlySQLTransactionError("read-only transaction")),
    _wrapped(asyncpg.DeadlockDetectedError("deadlock")),
    _wrapped(asyncpg.SerializationError("could not serialize")),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(getattr(error, "orig", None) or error).__name__)
async def test_a_database_that_is_away_is_503_with_retry_after(
    whole: WholeEdge, raises: Raises, error: Exception
) -> None:
    raises.error = error
    reply = await call(whole.edge, path="/raise")
    assert (reply.status, reply.json["error"]) == (503, "unavailable")
    assert int(reply.headers["retry-after"]) >= 1


async def test_without_the_mapping_a_lost_database_would_be_500(
    whole: WholeEdge, raises: Raises, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "as_problem", lambda _error: None)
    raises.error = ConnectionRefusedError(111, "refused")
    assert (await call(whole.edge, path="/raise")).status == 500


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        FileNotFoundError(2, "No such file", "/etc/x"),
        _wrapped(asyncpg.UniqueViolationError("duplicate")),
        _wrapped(asyncpg.UndefinedTableError("no table")),
        _wrapped(asyncpg.ForeignKeyViolationError("names no constraint")),
    ],
)
def test_faults_of_ours_are_not_called_passing(error: Exception) -> None:
    assert as_problem(error) is None


def test_a_statement_stopped_by_its_timeout_is_a_missed_deadline() -> None:
    assert isinstance(as_problem(_wrapped(asyncpg.QueryCanceledError("timeout"))), DeadlineExceededError)


async def test_an_application_that_says_nothing_is_a_500(whole: WholeEdge) -> None:
    assert (await call(whole.edge, path="/silent")).status == 500


async def test_a_reply_that_fails_half_way_is_left_unfinished(whole: WholeEdge) -> None:
    reply = await call(whole.edge, path="/stream")
    assert (reply.status, reply.body, reply.complete) == (200, b"half", False)
    [line] = whole.access()
    assert (line["status"], line["bytes"], line["route"]) == (200, 4, "/stream")


async def test_an_error_to_head_has_no_body(whole: WholeEdge) -> None:
    reply = await call(whole.edge, "HEAD", "/nowhere")
    assert reply.status in {404, 405}
