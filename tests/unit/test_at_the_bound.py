"""The very last value that is fine, and the first that isn't."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import aiosmtplib
import pytest
from fastapi import FastAPI, Request
from starlette.types import Receive

from servers.asgi import Lines, WholeEdge, call
from servers.told import counted
from servers.wire import connected, unwrapped
from slipway import logs_cli
from slipway.auth import principals as principals_module
from slipway.auth.principals import LOOK_AGAIN, Principals
from slipway.auth.tokens import MAX_TOKEN_LENGTH, Tokens
from slipway.context.request import RequestContext
from slipway.edge.drain import DrainState
from slipway.edge.exchange import Cancelled, Exchange
from slipway.edge.guard import MOST_HEADERS
from slipway.edge.protocol import MOST_PIPELINED, SMALL_BODY
from slipway.edge.sweeper import WATCH_AFTER, _should_watch
from slipway.jobs.kinds import JobError
from slipway.logs_cli import LONGEST_LINE, _lines
from slipway.mail.mailer import SmtpMailer
from slipway.migrations import marked
from slipway.migrations.marked import LEFT_OUT, MESSAGE_BYTES, failed_line, plan_lines
from slipway.sessions.queries import UsedToken
from slipway.sessions.refresh import within_grace
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.files import MAX_BYTES, FilesError, read_file
from slipway.telemetry.access import AccessLog
from slipway.telemetry.logs import LineWriter
from slipway.telemetry.tracing import LONGEST_TRACE_STATE, Tracing


@pytest.fixture
def whole() -> WholeEdge:
    app = FastAPI()

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.get("/")
    async def read() -> None:
        return

    return WholeEdge(app, Settings(max_body_bytes=1024, max_header_bytes=4096))


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413)])
@pytest.mark.parametrize("told", [True, False])
async def test_a_body_may_be_as_large_as_the_setting_says(
    whole: WholeEdge, size: int, status: int, *, told: bool
) -> None:
    headers = {"Content-Length": str(size)} if told else {"Transfer-Encoding": "chunked"}
    reply = await call(whole.edge, "POST", "/body", headers=headers, chunks=[b"x" * 1000, b"x" * (size - 1000)])
    assert reply.status == status


async def test_a_head_may_be_as_large_as_the_setting_says_and_have_so_many_headers(whole: WholeEdge) -> None:
    fixed = len("/") + len("X-Long")
    assert (await call(whole.edge, path="/", headers={"X-Long": "x" * (4096 - fixed)})).status == 200
    assert (await call(whole.edge, path="/", headers={"X-Long": "x" * (4096 - fixed + 1)})).status == 431
    many = {f"x{number}": "" for number in range(MOST_HEADERS)}
    assert (await call(whole.edge, path="/", headers=many)).status == 200
    assert (await call(whole.edge, path="/", headers={**many, "y": ""})).status == 431


async def test_so_many_requests_wait_on_a_connection_and_no_more() -> None:
    async def never(_scope: object, receive: Any, _send: object) -> None:
        await receive()

    wire, protocol = connected(unwrapped(never))
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    protocol.data_received(get * (1 + MOST_PIPELINED))
    assert len(protocol.pipeline) == MOST_PIPELINED
    assert protocol._refusal is None  # noqa: SLF001 - it is told in its turn
    protocol.data_received(get)
    assert protocol._refusal is not None  # noqa: SLF001
    assert not wire.closed
    protocol.connection_lost(None)


@pytest.mark.parametrize(("length", "is_small"), [(SMALL_BODY, True), (SMALL_BODY + 1, False)])
async def test_a_body_is_small_up_to_its_bound(length: int, *, is_small: bool) -> None:
    async def never(_scope: object, receive: Any, _send: object) -> None:
        await receive()

    _, protocol = connected(unwrapped(never))
    protocol.data_received(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
    assert cast("Any", protocol.cycle).small is is_small
    protocol.connection_lost(None)


@pytest.mark.parametrize(("age", "watched"), [(WATCH_AFTER, True), (WATCH_AFTER - 0.001, False)])
def test_a_client_is_watched_from_an_age_on(age: float, *, watched: bool) -> None:
    exchange = SimpleNamespace(inbox=None, body_read=True, receiving=False, disconnected=False, started=0.0)
    assert _should_watch(cast("Any", exchange), age) is watched


@pytest.mark.parametrize(("age", "within"), [(9.999, True), (10.0, False)])
def test_a_used_token_is_repeated_within_its_grace_and_not_at_its_end(age: float, *, within: bool) -> None:
    assert within_grace(UsedToken(timedelta(seconds=age), b""), 10.0) is within


def test_a_token_is_looked_at_up_to_a_length() -> None:
    ours = Tokens(Settings(), cast("Any", SimpleNamespace(on_change=lambda _: None)))
    for length, reason in ((MAX_TOKEN_LENGTH, "malformed"), (MAX_TOKEN_LENGTH + 1, "too_large")):
        with counted("slipway_token_rejections_total", labels={"reason": reason}):
            assert ours.identify("x" * length) is None


def test_a_file_is_read_up_to_a_size(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * MAX_BYTES)
    assert len(read_file(file)) == MAX_BYTES
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(FilesError):
        read_file(file)


@pytest.mark.parametrize(
    ("status", "threshold", "level"),
    [
        (499, logging.INFO, "INFO"),
        (500, logging.INFO, "ERROR"),
        (0, logging.INFO, "ERROR"),
        (200, logging.WARNING, None),
        (500, logging.ERROR, "ERROR"),
        (500, logging.CRITICAL, None),
    ],
)
def test_a_request_is_an_error_line_from_500_on_and_a_line_at_all_from_the_threshold_on(
    status: int, threshold: int, level: str | None
) -> None:
    stream = Lines()
    writer = LineWriter(cast("Any", stream), threshold)
    writer.write_soon = writer.write  # type: ignore[method-assign] # there is no event loop
    ids = dict.fromkeys(("user_id", "trace_id", "span_id", "route"))
    request = SimpleNamespace(request_id="r", method="GET", path="/", status=status, bytes_sent=0, started=0.0, **ids)
    AccessLog(writer).write(cast("Any", request))
    assert [line["level"] for line in stream.access()] == ([level] if level else [])


def test_a_trace_state_is_passed_on_up_to_a_length() -> None:
    tracing = Tracing(Settings())
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for length, kept in ((LONGEST_TRACE_STATE, True), (LONGEST_TRACE_STATE + 1, False)):
        context = RequestContext("id")
        tracing.begin(context, parent, b"a=" + b"x" * (length - 2))
        assert (context.trace_state is not None) is kept
    tracing.shutdown()


@pytest.mark.parametrize(("code", "final"), [(450, False), (499, False), (500, True), (550, True)])
async def test_a_mail_server_s_no_is_final_from_500_on(
    monkeypatch: pytest.MonkeyPatch, code: int, *, final: bool
) -> None:
    refusals = [
        aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(code, "hush", "a@example.com")]),
        aiosmtplib.SMTPDataError(code, "hush"),
    ]
    for refusal in refusals:

        class Client:
            async def __aenter__(self) -> Any:
                raise refusal  # noqa: B023 - used at once

            async def __aexit__(self, *_: object) -> None:
                return

        monkeypatch.setattr(SmtpMailer, "_client", lambda _: Client())
        with pytest.raises(JobError) as told:
            await SmtpMailer(Settings(), "smtp://mail").send(cast("Any", None), "a@example.com")
        assert told.value.final is final
        assert f"({code})" in str(told.value)
        assert "hush" not in str(told.value)


class Rows:
    """A database that answers for each session, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetch_row(self, _query: str, _session_id: object, _longest: object) -> Any:
        self.asked += 1
        return (uuid4(), "a@example.com", "", [], True, 1, None, None, None)


async def test_a_session_s_row_is_good_until_its_age_and_not_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rows, session = 1000.0, Rows(), uuid4()
    monkeypatch.setattr(principals_module, "monotonic", lambda: now)
    known = Principals(Settings(session_max_age=0.5), cast("Database", rows))
    user = await known.get(session)
    assert user is not None
    now = 1000.499
    assert known.peek(session) is user
    assert await known.get(session) is user
    assert rows.asked == 1
    now = 1000.5
    assert known.peek(session) is None
    assert await known.get(session) is not user
    assert rows.asked == 2

    other = uuid4()
    assert known.has_ended(session, other)
    assert rows.asked == 2, "it was read a moment ago"
    now += LOOK_AGAIN
    known.has_ended(session, other)
    assert session in known._flights  # noqa: SLF001 - it is read again in the background
    await known._flights[session].task  # noqa: SLF001


def test_a_line_is_shown_up_to_a_length_and_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LONGEST_LINE > 1000
    monkeypatch.setattr(logs_cli, "LONGEST_LINE", 10)
    for given, shown in (
        (b"123456789\nnext\n", [b"123456789", b"next"]),
        (b"1234567890\nnext\n", ["1234567890… (1 bytes more)".encode(), b"next"]),
        (b"12345678901234567890123\nnext", ["1234567890… (14 bytes more)".encode(), b"next"]),
        (b"123456789", [b"123456789"]),
        (b"1234567890", ["1234567890… (0 bytes more)".encode()]),
        (b"123\r\n", [b"123"]),
    ):
        assert list(_lines(io.BytesIO(given))) == shown


def test_a_message_is_cut_where_it_is_longer_than_a_line_may_be() -> None:
    fits = "x" * (MESSAGE_BYTES - 2)
    assert json.loads(failed_line("R", fits, lasting=False).partition("{")[2].join(["{", ""]))["message"] == fits
    cut = json.loads(failed_line("R", fits + "x", lasting=False).partition("{")[2].join(["{", ""]))["message"]
    assert cut == "x" * ((MESSAGE_BYTES - 1) * 9 // 10) + "…"


def test_a_plan_is_told_whole_up_to_its_size_and_then_without_its_longest_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    def document(*sql: str) -> dict[str, Any]:
        return {"partial": False, "revisions": [{"id": str(number), "sql": each} for number, each in enumerate(sql)]}

    whole = document("x" * 200, "y" * 100)
    size = len(json.dumps(whole, separators=(",", ":")))
    monkeypatch.setattr(marked, "PLAN_BYTES", size)
    assert marked._pieces(whole) is not None  # noqa: SLF001
    monkeypatch.setattr(marked, "PLAN_BYTES", size - 1)
    assert marked._pieces(whole) is None  # noqa: SLF001
    left = marked._without_longest(whole)  # noqa: SLF001
    assert left == {"partial": True, "revisions": [{"id": "0", "sql": LEFT_OUT.format(200)}, whole["revisions"][1]]}
    assert len(plan_lines(whole)) == 1
    least = len(LEFT_OUT) + 20
    with pytest.raises(ValueError, match="of 1 revisions is too large"):
        marked._without_longest(document("x" * least))  # noqa: SLF001
    marked._without_longest(document("x" * (least + 1)))  # noqa: SLF001
    monkeypatch.setattr(marked, "PLAN_BYTES", 4096)
    monkeypatch.setattr(marked, "PIECE", 10)
    packed = "".join(marked._pieces(whole) or ())  # noqa: SLF001
    monkeypatch.setattr(marked, "PARTS", 1)
    monkeypatch.setattr(marked, "PIECE", len(packed))
    assert marked._pieces(whole) == [packed]  # noqa: SLF001
    monkeypatch.setattr(marked, "PIECE", len(packed) - 1)
    assert marked._pieces(whole) is None  # noqa: SLF001


def an_exchange(receive: Receive) -> Exchange:
    return Exchange(
        {"method": "GET", "path": "/", "headers": []},
        receive,
        cast("Any", None),
        request_id="r",
        id_header=b"r",
        headers={},
        settings=Settings(),
        drain=DrainState(),
    )


async def test_a_watcher_keeps_two_messages_for_the_handler_and_takes_no_more() -> None:
    given = 0

    async def receive() -> Any:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"", "more_body": True}

    exchange = an_exchange(receive)
    watcher = exchange.watch()
    for _ in range(50):
        await asyncio.sleep(0)
    assert given == 3, "two are kept, and one is at hand"
    assert (await exchange.receive())["type"] == "http.request"
    watcher.cancel()


async def test_a_request_is_cancelled_once_for_its_first_reason_and_not_when_it_has_its_reply() -> None:
    def exchange() -> Exchange:
        made = an_exchange(cast("Any", None))
        made.task = cast("Any", task)
        return made

    task = SimpleNamespace(cancelled=0)
    task.cancel = lambda: setattr(task, "cancelled", task.cancelled + 1)
    one = exchange()
    for why in (Cancelled.DEADLINE, Cancelled.CLIENT_GONE, Cancelled.STOPPING):
        one.cancel(why)
    assert (one.cancelled, task.cancelled) == (Cancelled.DEADLINE, 1)
    replied = exchange()
    replied.complete = True
    replied.cancel(Cancelled.DEADLINE)
    assert (replied.cancelled, task.cancelled) == (None, 1)
    without = exchange()
    without.task = None
    without.cancel(Cancelled.DEADLINE)
    assert without.cancelled is None
    slow = exchange()
    slow.receiving, slow.body_read = True, False
    slow.cancel(Cancelled.DEADLINE)
    assert slow.cancelled is Cancelled.SLOW_BODY
    gone = exchange()
    gone.receiving, gone.body_read = True, False
    gone.cancel(Cancelled.CLIENT_GONE)
    assert gone.cancelled is Cancelled.CLIENT_GONE
    read = exchange()
    read.receiving = True
    read.cancel(Cancelled.DEADLINE)
    assert read.cancelled is Cancelled.DEADLINE
