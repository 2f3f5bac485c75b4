"""Bad input gets a 4xx problem that says what is wrong, never a 5xx, over a real connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from e2e.conftest import Serve, sign_in
from servers.seen import replies_in
from servers.slipway import SlipwayProcess

JSON = {"Content-Type": "application/json"}
ITEMS = "/api/v1/items"
ORIGIN = "https://app.example.com"


@pytest.fixture
def client(serve: Serve) -> Iterator[httpx.Client]:
    slipway: SlipwayProcess = serve(cors_origins=ORIGIN)
    with httpx.Client(base_url=slipway.base, headers=sign_in(slipway), timeout=20) as client:
        yield client


BAD: list[tuple[str, dict[str, Any], int]] = [
    ("bad JSON", {"content": b'{"title": ', "headers": JSON}, 422),
    ("bad UTF-8", {"content": b'{"title": "\xff\xfe"}', "headers": JSON}, 400),
    ("no JSON at all", {"content": b"title=x", "headers": {"Content-Type": "text/plain"}}, 422),
    ("deep JSON by another spelling", {"content": b"[" * 500, "headers": {"Content-Type": "application/JSON"}}, 400),
    ("a coded body", {"content": b"\x1f\x8b", "headers": {**JSON, "Content-Encoding": "GZIP"}}, 415),
    ("NUL in text", {"json": {"title": "a\x00b"}}, 422),
    ("a lone surrogate", {"content": rb'{"title": "\ud800"}', "headers": JSON}, 422),
    ("a body of 10 MB", {"content": b'{"title": "' + b"x" * 10_000_000 + b'"}', "headers": JSON}, 413),
    ("JSON 10,000 levels deep", {"content": b"[" * 10_000 + b"]" * 10_000, "headers": JSON}, 400),
    ("a number beyond all bounds", {"content": b'{"title": "x", "body": 1e999999}', "headers": JSON}, 422),
    ("an unknown member", {"json": {"title": "x", "owner_id": "me"}}, 422),
    ("a title that is too long", {"json": {"title": "x" * 201}}, 422),
    ("an unusable key", {"json": {"title": "x"}, "headers": {"Idempotency-Key": "short"}}, 422),
]


def test_each_bad_body_is_a_problem_with_its_reason(client: httpx.Client) -> None:
    for what, request, status in BAD:
        reply = client.post(ITEMS, **request)
        assert reply.status_code == status, (what, reply.text)
        assert reply.headers["Content-Type"] == "application/problem+json", what
        problem = reply.json()
        assert problem["request_id"] == reply.headers["X-Request-ID"], what
        assert problem["error"], what
        assert problem["message"], what
    assert client.get(ITEMS).json()["total"] == 0


BAD_QUERIES = (
    "page=-1", "page=0", "page=99999999999999999999", "per_page=0", "per_page=101", "cursor=%00", "cursor=AAAA",
    "q=%00", "owner_id=x",
)  # fmt: skip


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_each_bad_query_is_a_problem(client: httpx.Client, query: str) -> None:
    reply = client.get(f"{ITEMS}?{query}")
    assert reply.status_code == 422, reply.text
    assert reply.json()["details"][0]["location"] == f"query.{query.partition('=')[0]}"


def test_an_address_that_is_not_there_and_a_method_it_does_not_take_are_problems(client: httpx.Client) -> None:
    missing, wrong = client.get("/nowhere"), client.delete("/health")
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"], wrong.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD, OPTIONS",
    )


def test_headers_beyond_all_bounds_are_refused(client: httpx.Client) -> None:
    reply = client.get("/health", headers={f"X-Filler-{number}": "x" * 4000 for number in range(12)})
    assert reply.status_code == 431


@pytest.mark.parametrize(
    "start", [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x" * 200_000]
)
def test_what_is_no_http_does_not_disturb_the_next_request(client: httpx.Client, start: bytes) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as raw:
        try:
            raw.sendall(start)
            raw.shutdown(socket.SHUT_WR)
            answer = raw.recv(100)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 5")
    assert client.get("/health").status_code == 200


def test_a_body_behind_an_upgrade_is_no_request_at_either_port(serve: Serve) -> None:
    slipway = serve()
    headers = sign_in(slipway)
    wanted = f"POST {ITEMS} HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n"
    body = wanted.encode() + b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"title":"x"}'
    for address in (slipway.base, slipway.ops):
        with socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0), timeout=10) as raw:
            raw.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n")
            raw.sendall(b"Content-Length: %d\r\n\r\n" % len(body))
            told = raw.recv(65536)
            raw.sendall(body + b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while piece := raw.recv(65536):
                told += piece
        assert [reply.status for reply in replies_in(told)] == [404, 404]
    assert httpx.get(slipway.base + ITEMS, headers=headers, timeout=10).json()["total"] == 0


def test_every_kind_of_reply_carries_the_request_id_and_cors_headers(serve: Serve) -> None:
    slipway = serve(cors_origins=ORIGIN, rate_limit=6, rate_limit_window=3600)
    with httpx.Client(base_url=slipway.base, headers={"Origin": ORIGIN, "X-Request-ID": "mine-1"}) as client:
        replies = [client.get("/health"), client.get("/nowhere"), client.get("/api/v1/users/me")]
        replies += [client.post("/api/v1/auth/token", data={"username": "a", "password": "b"})]
        replies += [client.get("/nowhere") for _ in range(6)]
        assert {reply.status_code for reply in replies} == {200, 404, 401, 429}
        for reply in replies:
            assert reply.headers["X-Request-ID"] == "mine-1"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "x-request-id" in reply.headers["Access-Control-Expose-Headers"].lower()
        assert int(replies[-1].headers["Retry-After"]) >= 1
        assert replies[-1].headers["RateLimit"]
        preflight = client.options(
            ITEMS,
            headers={"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Idempotency-Key"},
        )
        assert preflight.status_code == 200
        assert preflight.headers["X-Request-ID"] == "mine-1"
