"""Who asks, under which id, and what the log says of it."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request

from servers.asgi import WholeEdge, call
from slipway.settings import Settings


def api() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: str, request: Request) -> dict[str, str]:
        return {"id": item_id, "request": request.scope["slipway.exchange"].request_id}

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("secret detail")

    return app


@pytest.fixture
def whole() -> WholeEdge:
    return WholeEdge(api(), Settings())


async def test_a_sane_request_id_is_kept_from_the_request_to_handler_reply_and_log(whole: WholeEdge) -> None:
    reply = await call(whole.edge, path="/items/7", headers={"X-Request-ID": "abc-123"})
    assert reply.headers["x-request-id"] == "abc-123"
    assert reply.json == {"id": "7", "request": "abc-123"}
    assert whole.access()[0]["request_id"] == "abc-123"


@pytest.mark.parametrize("unsafe", ["", "a b", "x" * 129, 'quote"', "new\nline", "ümlaut"])
async def test_an_unsafe_request_id_is_replaced(whole: WholeEdge, unsafe: str) -> None:
    reply = await call(whole.edge, path="/items/7", headers={"X-Request-ID": unsafe})
    assert reply.headers["x-request-id"] != unsafe
    assert len(reply.headers["x-request-id"]) == 32


async def test_each_request_without_an_id_gets_another_one(whole: WholeEdge) -> None:
    first, second = [await call(whole.edge, path="/items/7") for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_each_request_leaves_one_line_with_route_status_and_size(whole: WholeEdge) -> None:
    reply = await call(whole.edge, path="/items/7")
    (line,) = whole.access()
    assert line["route"] == "/items/{item_id}"
    assert line["path"] == "/items/7"
    assert line["method"] == "GET"
    assert line["status"] == 200
    assert line["bytes"] == len(reply.body)
    assert line["level"] == "INFO"
    assert line["timestamp"].endswith("Z")
    assert line["duration_ms"] == round(line["duration_ms"], 3) > 0
    assert len(line["trace_id"]) == 32
    assert len(line["span_id"]) == 16


async def test_a_failed_request_is_an_error_line_and_written_at_once(whole: WholeEdge) -> None:
    await call(whole.edge, path="/boom")
    (line,) = whole.stream.access()
    assert (line["level"], line["status"]) == ("ERROR", 500)


async def test_an_unknown_path_has_no_route(whole: WholeEdge) -> None:
    reply = await call(whole.edge, path="/nowhere")
    assert reply.status == 404
    assert whole.access()[0]["route"] is None


async def test_while_draining_every_reply_closes_its_connection(whole: WholeEdge) -> None:
    before = await call(whole.edge, path="/items/7")
    whole.drain.begin()
    after = await call(whole.edge, path="/items/7")
    assert "connection" not in before.headers
    assert after.headers["connection"] == "close"


async def test_a_query_is_not_logged(whole: WholeEdge) -> None:
    await call(whole.edge, path="/items/7", headers={"Referer": "https://x.example/?token=abc"})
    assert "token=abc" not in str(whole.access())


@pytest.mark.parametrize("path", ["/items/1", "/boom", "/nowhere"])
async def test_no_reply_is_taken_for_another_kind_of_document_than_it_says(whole: WholeEdge, path: str) -> None:
    headers = (await call(whole.edge, path=path)).headers
    assert headers["x-content-type-options"] == "nosniff"
