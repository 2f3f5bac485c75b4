"""What the edge turns away before the application sees it, and what such a reply carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from servers.asgi import Call, WholeEdge, call
from servers.waiting import until
from slipway.edge import exchange as exchange_module
from slipway.edge import guard as guard_module
from slipway.edge.guard import Guard
from slipway.settings import Settings

ORIGIN = "https://app.example"


@dataclass
class Decision:
    allowed: bool = True
    limit: int = 600
    remaining: int = 599
    reset_after: float = 41.2
    retry_after: float = 0.0
    window: str = "w"


@dataclass
class FakeLimiter:
    """Answers at once, or only when asked; remembers the keys."""

    decision: Decision = field(default_factory=Decision)
    at_once: bool = True
    keys: list[str] = field(default_factory=list)

    def try_acquire(self, key: str) -> Decision | None:
        self.keys.append(key)
        return self.decision if self.at_once else None

    async def acquire(self, key: str) -> Decision:
        self.keys.append(f"asked {key}")
        return self.decision

    def give_back(self, key: str, decision: Decision) -> None:  # noqa: ARG002 - the limiter's
        self.keys.append(f"back {key}")


@dataclass
class Claims:
    subject: str


def identify(token: str) -> Claims | None:
    return Claims("user-1") if token == "good" else None


class Api:
    """An application whose `/slow` waits until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.seen: list[Any] = []
        self.app = app = FastAPI()

        @app.get("/slow")
        async def slow() -> None:
            await self.go.wait()

        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "healthy"}

        @app.post("/items")
        async def create(document: Any = None) -> None:
            self.seen.append(document)

        @app.post("/json")
        async def take(document: dict[str, Any]) -> None:
            self.seen.append(document)

        @app.get("/boom")
        async def boom() -> None:
            raise ValueError("a secret detail")


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def limiter() -> FakeLimiter:
    return FakeLimiter()


@pytest.fixture
async def whole(api: Api, limiter: FakeLimiter) -> AsyncIterator[WholeEdge]:
    settings = Settings(
        max_concurrency=2, max_body_bytes=1024, max_json_depth=4, max_header_bytes=4096, cors_origins=[ORIGIN]
    )
    whole = WholeEdge(api.app, settings)
    async with whole.edge.serving(limiter=limiter, identify=identify):
        yield whole


JSON = {"Content-Type": "application/json"}


async def test_headers_beyond_the_limit_are_431(whole: WholeEdge) -> None:
    reply = await call(whole.edge, path="/health", headers={"X-Long": "x" * 5000})
    assert (reply.status, reply.json["error"]) == (431, "headers_too_large")


async def test_a_declared_body_beyond_the_limit_is_413_before_it_is_read(whole: WholeEdge, api: Api) -> None:
    reply = await call(whole.edge, "POST", "/json", headers={**JSON, "Content-Length": "1025"}, chunks=[b"x" * 1025])
    assert (reply.status, reply.json["error"]) == (413, "payload_too_large")
    assert api.seen == []


async def test_a_streamed_body_beyond_the_limit_is_413(whole: WholeEdge, api: Api) -> None:
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    reply = await call(whole.edge, "POST", "/json", headers=headers, chunks=[b'{"a":"', *[b"x" * 500] * 3, b'"}'])
    assert (reply.status, reply.json["error"]) == (413, "payload_too_large")
    assert reply.complete
    assert api.seen == []


async def test_a_body_within_the_limit_arrives_whole(whole: WholeEdge, api: Api) -> None:
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    reply = await call(whole.edge, "POST", "/json", headers=headers, chunks=[b'{"a":', b'"b"', b"}"])
    assert reply.status == 200
    assert api.seen == [{"a": "b"}]


@pytest.mark.parametrize("chunks", [[b'{"a":[[[[1]]]]}'], [b'{"a":[[', b"[[1]]", b"]]}"], [b"[" * 900]])
async def test_json_nested_beyond_the_limit_is_400(whole: WholeEdge, api: Api, chunks: list[bytes]) -> None:
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    reply = await call(whole.edge, "POST", "/json", headers=headers, chunks=chunks)
    assert (reply.status, reply.json["error"]) == (400, "bad_request")
    assert "4 levels" in reply.json["message"]
    assert api.seen == []


async def test_without_the_depth_guard_deep_json_reaches_the_application(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "deeper_than", lambda _body, _limit: False)
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    await call(whole.edge, "POST", "/json", headers=headers, chunks=[b'{"a":[[[[1]]]]}'])
    assert api.seen == [{"a": [[[[1]]]]}]


async def test_without_the_size_guard_a_large_body_reaches_the_application(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "_check_size", lambda *_: None)
    monkeypatch.setattr(exchange_module.Exchange, "_body_problem", lambda *_, **__: None)
    headers = {**JSON, "Content-Length": "2008"}
    await call(whole.edge, "POST", "/json", headers=headers, chunks=[b'{"a":"' + b"x" * 2000 + b'"}'])
    assert len(api.seen) == 1


async def test_a_content_length_that_is_no_number_is_400(whole: WholeEdge) -> None:
    assert (await call(whole.edge, "POST", "/json", headers={**JSON, "Content-Length": "-1"})).status == 400


async def _fill(whole: WholeEdge) -> list[Call]:
    running = [Call(whole.edge, path="/slow").start() for _ in range(2)]
    await until(lambda: whole.edge.in_flight == 2)
    return running


async def test_more_requests_than_the_process_takes_are_503_and_health_still_answers(
    whole: WholeEdge, api: Api
) -> None:
    running = await _fill(whole)
    refused = await call(whole.edge, path="/slow")
    health = await call(whole.edge, path="/health")
    api.go.set()
    assert (refused.status, refused.json["error"], refused.headers["retry-after"]) == (503, "unavailable", "1")
    assert health.status == 200
    assert [(await one.reply()).status for one in running] == [200, 200]
    assert whole.edge.in_flight == 0


async def test_without_the_in_flight_guard_all_are_worked_on(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "_check_load", lambda *_: None)
    running = [*await _fill(whole), Call(whole.edge, path="/slow").start()]
    await until(lambda: whole.edge.in_flight == 3)
    api.go.set()
    assert [(await one.reply()).status for one in running] == [200, 200, 200]


async def test_every_limited_reply_says_how_much_is_left(whole: WholeEdge) -> None:
    reply = await call(whole.edge, "POST", "/items")
    assert reply.headers["ratelimit-policy"] == '"default";q=600;w=60'
    assert reply.headers["ratelimit"] == '"default";r=599;t=42'


async def test_beyond_the_rate_limit_a_request_is_429_with_the_time_to_wait(
    whole: WholeEdge, limiter: FakeLimiter, api: Api
) -> None:
    limiter.decision = Decision(allowed=False, remaining=0, retry_after=6.5)
    reply = await call(whole.edge, "POST", "/items")
    assert (reply.status, reply.json["error"]) == (429, "rate_limited")
    assert reply.headers["retry-after"] == "7"
    assert reply.headers["ratelimit"] == '"default";r=0;t=42'
    assert api.seen == []


async def test_without_the_rate_guard_a_refused_request_is_served(
    whole: WholeEdge, limiter: FakeLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unlimited(*_: object) -> None:
        return

    limiter.decision = Decision(allowed=False)
    monkeypatch.setattr(Guard, "_check_rate", unlimited)
    assert (await call(whole.edge, "POST", "/items")).status == 200


async def test_the_limiter_is_asked_where_it_cannot_answer_at_once(whole: WholeEdge, limiter: FakeLimiter) -> None:
    limiter.at_once = False
    await call(whole.edge, "POST", "/items")
    assert limiter.keys == ["a:203.0.113.7", "asked a:203.0.113.7"]


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("::ffff:203.0.113.7", "a:203.0.113.7"),
        ("2001:db8:1:2:aaaa::1", "a:2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "a:2001:db8:1:2::/64"),
        ("unix", "a:unix"),
    ],
)
async def test_an_ipv6_client_is_counted_by_its_site_and_a_mapped_one_by_its_ipv4_address(
    whole: WholeEdge, limiter: FakeLimiter, client: str, key: str
) -> None:
    await call(whole.edge, "POST", "/items", client=client)
    assert limiter.keys == [key]


async def test_without_networks_each_address_of_a_site_has_its_own_limit(
    whole: WholeEdge, limiter: FakeLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "network_of", lambda address: address)
    for client in ("2001:db8::1", "2001:db8::2"):
        await call(whole.edge, "POST", "/items", client=client)
    assert len(set(limiter.keys)) == 2


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        ("Bearer good", "u:user-1"),
        ("bearer good", "u:user-1"),
        ("Bearer bad", "a:203.0.113.7"),
        ("Basic good", "a:203.0.113.7"),
    ],
)
async def test_who_presents_a_valid_token_is_counted_and_logged_as_themselves(
    whole: WholeEdge, limiter: FakeLimiter, authorization: str, key: str
) -> None:
    await call(whole.edge, "POST", "/items", headers={"Authorization": authorization})
    assert limiter.keys == [key]
    assert whole.access()[0]["user_id"] == ("user-1" if key == "u:user-1" else None)


async def test_health_is_not_counted(whole: WholeEdge, limiter: FakeLimiter) -> None:
    await call(whole.edge, path="/health")
    assert limiter.keys == []


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/boom", "GET", {}, 500),
        ("/items", "POST", {"X-Limited": "1"}, 429),
        ("/json", "POST", {"Content-Length": "999999"}, 413),
    ],
)
async def test_errors_carry_cors_headers_and_the_request_id(
    whole: WholeEdge, limiter: FakeLimiter, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    limiter.decision = Decision(allowed="X-Limited" not in headers)
    reply = await call(whole.edge, method, path, headers={**headers, "Origin": ORIGIN})
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-ID" in reply.headers["access-control-expose-headers"]
    assert reply.headers["x-request-id"] == reply.json["request_id"]


async def test_an_overloaded_process_answers_503_with_cors_headers(whole: WholeEdge, api: Api) -> None:
    running = await _fill(whole)
    refused = await call(whole.edge, path="/slow", headers={"Origin": ORIGIN})
    api.go.set()
    [await one.reply() for one in running]
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (503, ORIGIN)


async def test_a_preflight_allows_the_headers_of_the_api(whole: WholeEdge) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    reply = await call(whole.edge, "OPTIONS", "/items", headers=headers)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "x-request-id" in reply.headers


async def test_a_strange_origin_gets_no_permission(whole: WholeEdge) -> None:
    reply = await call(whole.edge, "POST", "/items", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in reply.headers
