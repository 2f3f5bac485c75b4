"""What seldom happens, at each of the places where it must not end in more than it is."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from pydantic import SecretStr

from servers.asgi import WholeEdge
from servers.raw_requests import BY_CHUNKS, head
from servers.wire import connected, unwrapped
from slipway import listening, logs_cli
from slipway.auth.keys import generate_keys
from slipway.cli import root
from slipway.domains import SETTINGS
from slipway.edge.framing import check_head
from slipway.edge.limiter import RateLimiter
from slipway.http.problems import (
    AppException,
    BadRequestError,
    ConflictError,
    RateLimitedError,
    UnavailableError,
    problem_body,
    problem_headers,
)
from slipway.jobs.away import pauses
from slipway.listening import PORTS, ListenError, listen
from slipway.redis.gateway import AWAY, RedisGateway
from slipway.settings import Settings
from slipway.settings.sources import SettingsError, load_settings
from slipway.storage.engine import DeadlineConnection
from slipway.storage.login import Login, LoginError
from slipway.storage.unit import Transaction
from slipway.telemetry.logs import JsonHandler, LineWriter
from slipway.telemetry.redaction import REDACTED, redact
from slipway.users.schemas import UserCreate
from slipway.users.service import create


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_head_with_two_lengths_is_refused_whichever_comes_first(version: str) -> None:
    fields = [(b"host", b"a"), (b"content-length", b"3"), (b"transfer-encoding", b"chunked")]
    for told in (fields, fields[::-1]):
        with pytest.raises(BadRequestError):
            check_head(b"POST", version, told)
    check_head(b"POST", "1.1", fields[:2])
    check_head(b"POST", "1.1", fields[::2])


async def test_what_is_no_request_goes_to_the_application_as_it_is() -> None:
    whole = WholeEdge(FastAPI(), Settings())
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    whole.edge.app = cast("FastAPI", application)
    await whole.edge({"type": "lifespan"}, cast("Any", None), cast("Any", None))
    assert seen == ["lifespan"]
    assert whole.access() == []


async def test_a_body_that_turns_out_bad_after_its_reply_began_ends_the_connection_without_another() -> None:
    begun = asyncio.Event()

    async def streams(_scope: object, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        begun.set()
        await asyncio.Event().wait()

    wire, protocol = connected(unwrapped(streams))
    protocol.data_received(head(BY_CHUNKS) + b"1\r\nx\r\n")
    await asyncio.wait_for(begun.wait(), 5)
    protocol.data_received(b"no chunk")
    assert wire.closed
    assert wire.received.count(b"HTTP/1.1") == 1
    protocol.connection_lost(None)


async def test_a_lease_that_redis_does_not_answer_is_decided_by_the_local_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1", rate_limit=2)  # type: ignore[arg-type]
    gateway = RedisGateway(settings)
    gateway.available = True

    async def away(*_: object) -> object:
        gateway.available = False
        return AWAY

    monkeypatch.setattr(gateway, "call", away)
    limiter = RateLimiter(settings, gateway)
    assert limiter.try_acquire("key") is None
    assert [(await limiter.acquire("key")).allowed for _ in range(3)] == [True, True, False]


def test_a_problem_whose_words_are_no_unicode_is_json_all_the_same() -> None:
    body = problem_body(ConflictError("The member \ud800 is none."), "id")
    assert json.loads(body)["message"] == "The member \ud800 is none."


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.9, 1.0, 1.4, 2.0, 3.0, 59.9, 60.0])
def test_seconds_to_wait_are_whole_and_never_none_and_of_a_limit_never_too_few(seconds: float) -> None:
    def told(problem: AppException) -> int:
        return int(dict(problem_headers(problem, b""))[b"retry-after"])

    assert max(1.0, seconds) <= told(RateLimitedError(retry_after=seconds)) <= seconds + 1
    assert told(UnavailableError(retry_after=seconds)) == max(1, round(seconds))
    assert told(UnavailableError()) == 1
    extra = RateLimitedError(retry_after=1, headers={"X-Extra": "1"})
    assert dict(problem_headers(extra, b""))[b"x-extra"] == b"1"


@pytest.mark.parametrize(
    "issuer", ["api.example.com", "ftp://api.example.com", "https://", "https://a/?b=c", "https://a/#b"]
)
def test_an_issuer_is_a_base_url(issuer: str) -> None:
    with pytest.raises(ValueError, match="must be an http"):
        Settings(issuer=issuer)
    assert Settings(issuer="https://api.example.com/").issuer == "https://api.example.com"


def test_faults_are_told_together_also_where_the_rest_can_not_be_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_ENVIRONMENT", "production")
    monkeypatch.setenv("SLIPWAY_PORT", "loud")
    monkeypatch.setenv("SLIPWAY_ISSUER", "nowhere")
    with pytest.raises(SettingsError) as refused:
        load_settings(SETTINGS, drain=-1)
    assert {"SLIPWAY_PORT", "SLIPWAY_ISSUER"} <= {fault.split()[0].rstrip(":") for fault in refused.value.faults}


def test_a_port_that_is_free_in_one_family_only_is_chosen_anew_so_often_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def taken(_addresses: object, port: int) -> list[socket.socket]:
        tried.append(port)
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(listening, "_bound", taken)
    with pytest.raises(ListenError, match="to a free port"):
        listen("*", 0, "SLIPWAY_PORT")
    assert len(tried) == PORTS
    tried.clear()
    with pytest.raises(ListenError):
        listen("*", 8000, "SLIPWAY_PORT")
    assert tried == [8000], "that one was asked for"


def test_lines_from_a_terminal_are_none_and_the_way_to_give_some_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_cli, "is_terminal", lambda _: True)
    done = CliRunner().invoke(root, ["logs"])
    assert done.exit_code == 2
    assert "| slipway logs" in done.output


def test_ctrl_c_ends_the_showing_of_lines_as_a_shell_expects_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(logs_cli, "shown", interrupted)
    assert CliRunner().invoke(root, ["logs"], input="{}").exit_code == 130


def test_a_key_that_can_not_be_written_leaves_no_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        generate_keys(tmp_path / "keys")
    assert list((tmp_path / "keys").iterdir()) == []


async def test_a_connection_that_the_server_ended_is_a_lost_one_not_a_fault_of_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> str:
        raise asyncpg.InternalClientError("got result for unknown protocol state")

    monkeypatch.setattr(asyncpg.Connection, "execute", fail)
    monkeypatch.setattr(asyncpg.Connection, "__del__", lambda _: None)  # it was never opened
    connection = DeadlineConnection.__new__(DeadlineConnection)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await connection.execute("BEGIN")
    del connection


def test_a_database_url_beside_a_folder_is_refused_as_the_url() -> None:
    with pytest.raises(LoginError, match=r"^The database URL ") as refused:
        Login.from_contents({"password": b"hush"}, "postgresql://a:hush@b/c?channel_binding=require")
    assert "hush" not in str(refused.value)


class Unwilling:
    """A stream that fails."""

    def write(self, _: str) -> int:
        return 0

    def flush(self) -> None:
        return


def test_a_line_that_can_not_be_made_fails_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    handler = JsonHandler(LineWriter(cast("Any", Unwilling())))
    record = logging.makeLogRecord({"name": "a", "msg": "%d", "args": ("no number",)})
    handler.emit(record)
    assert "Logging error" in capsys.readouterr().err


class Odd:
    def __str__(self) -> str:
        return "password=hush"


def test_what_has_no_form_of_its_own_is_shown_as_text_without_secrets() -> None:
    assert redact(Odd()) == f"password={REDACTED}"
    assert [redact(value) for value in (None, True, 3, 1.5)] == [None, True, 3, 1.5]


def test_pauses_double_up_to_a_bound_and_are_never_all_together() -> None:
    series = [[pause for pause, _ in zip(pauses(), range(8), strict=False)] for _ in range(200)]
    for number, longest in enumerate([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]):
        found = [each[number] for each in series]
        assert longest / 2 <= min(found) < longest * 0.7
        assert longest * 0.8 < max(found) <= longest


@pytest.mark.parametrize(
    ("broken", "raised"), [("users_email_key", ConflictError), ("users_pkey", asyncpg.UniqueViolationError)]
)
async def test_only_a_taken_address_is_a_conflict(broken: str, raised: type[Exception]) -> None:
    async def refuse(*_: object, **__: object) -> None:
        error = asyncpg.UniqueViolationError("duplicate key")
        error.constraint_name = broken
        raise error

    new = UserCreate(email="ada@example.com", password=SecretStr("a long enough password"))
    with pytest.raises(raised):
        await create(cast("Transaction", SimpleNamespace(entry=SimpleNamespace(), row=refuse)), new, "hash")
