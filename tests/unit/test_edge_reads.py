"""HEAD and `If-None-Match`, for whatever an application says to GET."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Response
from starlette.responses import StreamingResponse

from servers.asgi import Call, WholeEdge, call
from slipway.edge import exchange as exchange_module
from slipway.edge import guard as guard_module
from slipway.settings import Settings

TAG = '"3"'
ORIGIN = "https://app.example"


class Api:
    def __init__(self) -> None:
        self.streamed = 0
        self.app = app = FastAPI()

        @app.get("/thing")
        async def thing() -> Response:
            headers = {"ETag": TAG, "Cache-Control": "max-age=1", "Content-Language": "en", "Vary": "Accept"}
            return Response(b'{"a": 1}', 200, headers, "application/json")

        @app.put("/thing")
        async def put() -> Response:
            return Response(b"{}", 200, {"ETag": TAG})

        @app.get("/missing")
        async def missing() -> Response:
            return Response(b"no", 404, {"ETag": TAG})

        @app.get("/plain")
        async def plain() -> Response:
            return Response(b"plain")

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(self._pieces(), headers={"Content-Length": "3000", "ETag": TAG})

        @app.get("/boom")
        async def boom() -> None:
            raise ValueError

    async def _pieces(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            self.streamed += 1
            await asyncio.sleep(0)  # a database gives the loop its turn as well
            yield b"abc"


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def whole(api: Api) -> WholeEdge:
    return WholeEdge(api.app, Settings(cors_origins=[ORIGIN]))


def _lasting(reply: Call) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "x-request-id"}


@pytest.mark.parametrize("path", ["/thing", "/missing", "/plain", "/stream", "/boom", "/nowhere"])
async def test_head_is_get_without_its_body(whole: WholeEdge, path: str) -> None:
    get, head = await call(whole.edge, "GET", path), await call(whole.edge, "HEAD", path)
    assert (head.status, head.body, head.complete) == (get.status, b"", True)
    assert get.body
    assert set(_lasting(head)) == set(_lasting(get))
    if path not in ("/boom", "/nowhere"):  # their bodies carry the request's id
        assert _lasting(head) == _lasting(get)


async def test_head_is_logged_and_counted_as_what_it_is(whole: WholeEdge) -> None:
    await call(whole.edge, "HEAD", "/thing")
    line = whole.access()[0]
    assert (line["method"], line["route"], line["status"], line["bytes"]) == ("HEAD", "/thing", 200, 0)


async def test_head_of_a_stream_reads_no_more_of_it_than_its_beginning(whole: WholeEdge, api: Api) -> None:
    await call(whole.edge, "HEAD", "/stream")
    assert api.streamed <= 2


async def test_without_answering_at_once_all_of_the_stream_would_be_read(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module.Exchange, "left_out", property(lambda _: False))
    assert (await call(whole.edge, "HEAD", "/stream")).body == b"abc" * 1000
    assert api.streamed == 1000


async def test_head_where_there_is_no_get_is_405() -> None:
    app = FastAPI()
    app.post("/only")(lambda: None)
    assert (await call(WholeEdge(app, Settings()).edge, "HEAD", "/only")).status == 405


async def test_without_the_guards_turn_head_would_be_405(whole: WholeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "HEAD", "none")
    assert (await call(whole.edge, "HEAD", "/thing")).status == 405


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("known", [TAG, f"W/{TAG}", f'"1", {TAG}', "*", '"3-gzip"'])
async def test_what_the_client_has_is_not_sent_again(whole: WholeEdge, method: str, known: str) -> None:
    reply = await call(whole.edge, method, "/thing", headers={"If-None-Match": known, "Origin": ORIGIN})
    assert (reply.status, reply.body, reply.complete) == (304, b"", True)
    assert reply.headers["etag"] == TAG
    assert reply.headers["cache-control"] == "max-age=1"
    assert "Accept" in reply.headers["vary"]
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert not {"content-type", "content-length", "content-language"} & set(reply.headers)
    line = whole.access()[0]
    assert (line["status"], line["bytes"]) == (304, 0)


async def test_a_header_on_two_lines_is_one_list(whole: WholeEdge) -> None:
    one = Call(whole.edge, "GET", "/thing")
    one._scope["headers"] = [(b"if-none-match", b'"1"'), (b"if-none-match", TAG.encode())]  # noqa: SLF001 - a dict can't repeat
    assert (await one.reply()).status == 304


@pytest.mark.parametrize("known", ['"4"', "", "3", 'w/"3"', f'{TAG} "x"', '"3'])
async def test_another_tag_or_a_malformed_one_gets_the_whole(whole: WholeEdge, known: str) -> None:
    reply = await call(whole.edge, "GET", "/thing", headers={"If-None-Match": known})
    assert (reply.status, reply.body) == (200, b'{"a": 1}')


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/thing", 200), ("GET", "/missing", 404), ("GET", "/plain", 200)]
)
async def test_only_reads_of_what_has_a_tag_are_left_out(whole: WholeEdge, method: str, path: str, status: int) -> None:
    assert (await call(whole.edge, method, path, headers={"If-None-Match": f"{TAG}, W/{TAG}"})).status == status
    if path != "/thing":
        assert (await call(whole.edge, method, path, headers={"If-None-Match": "*"})).status == status
