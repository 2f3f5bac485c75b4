"""Dependencies that go away and come back while requests run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import monotonic

import httpx
import pytest

from e2e.conftest import Serve, sign_in
from servers.databases import TestDatabase, create_roles, superuser_sql
from servers.postgres import PostgresServer
from servers.redis import RedisServer
from servers.slipway import SlipwayProcess
from servers.waiting import free_port, until
from slipway.migrations.runner import upgrade
from slipway.settings import Settings


@pytest.fixture
async def own_postgres() -> AsyncIterator[TestDatabase]:
    """A server of this test's own, so that it can be stopped."""
    server = PostgresServer()
    try:
        server.start()
        await create_roles(server)
        await superuser_sql(server, "CREATE DATABASE mine OWNER slipway_owner")
        database = TestDatabase(server, "mine")
        await upgrade(Settings(database_url=database.url_owner, database_grant_to="slipway_app"))  # type: ignore[arg-type]
        yield database
    finally:
        server.remove()


def _metric(slipway: SlipwayProcess, name: str) -> float | None:
    for line in httpx.get(f"{slipway.ops}/metrics", timeout=5).text.splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


async def test_without_postgres_requests_get_503_problems_in_time_and_it_recovers_by_itself(
    own_postgres: TestDatabase, serve: Serve
) -> None:
    slipway = serve(database_url=own_postgres.url_app, request_deadline=5)
    headers = sign_in(slipway)
    assert httpx.get(f"{slipway.base}/api/v1/items", headers=headers).status_code == 200
    own_postgres.server.stop("immediate")
    for method, path in (("GET", "/api/v1/items"), ("POST", "/api/v1/items"), ("GET", "/api/v1/users/me")):
        body = {"title": "x"} if method == "POST" else None
        asked = monotonic()
        reply = httpx.request(method, slipway.base + path, json=body, headers=headers, timeout=15)
        assert monotonic() - asked <= 6
        if path.endswith("/me") and reply.status_code == 200:
            continue  # within the second that a session's row is trusted
        assert (reply.status_code, reply.json()["error"]) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
    assert httpx.get(f"{slipway.ops}/livez").status_code == 200
    assert httpx.get(f"{slipway.ops}/readyz").status_code == 200
    own_postgres.server.start()
    await until(lambda: httpx.get(f"{slipway.base}/api/v1/items", headers=headers).status_code == 200, within=10)


async def test_a_postgres_that_stalls_gives_503_within_the_deadline(own_postgres: TestDatabase, serve: Serve) -> None:
    slipway = serve(database_url=own_postgres.url_app, request_deadline=2)
    headers = sign_in(slipway)
    own_postgres.server.pause()
    try:
        asked = monotonic()
        reply = httpx.get(f"{slipway.base}/api/v1/items", headers=headers, timeout=15)
        assert monotonic() - asked <= 4
        assert reply.status_code == 503
    finally:
        own_postgres.server.resume()
    await until(lambda: httpx.get(f"{slipway.base}/api/v1/items", headers=headers).status_code == 200, within=15)


async def test_a_restart_of_postgres_between_requests_is_not_noticed(own_postgres: TestDatabase, serve: Serve) -> None:
    slipway = serve(database_url=own_postgres.url_app)
    headers = sign_in(slipway)
    with httpx.Client(base_url=slipway.base, headers=headers) as client:
        for _ in range(5):
            assert client.get("/api/v1/items").status_code == 200
        own_postgres.server.stop()
        own_postgres.server.start()
        statuses = [client.get("/api/v1/items").status_code for _ in range(20)]
        statuses += [client.post("/api/v1/items", json={"title": "x"}).status_code for _ in range(20)]
    assert set(statuses) == {200, 201}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("fault", ["gone", "slow"])
async def test_without_redis_no_request_fails_limits_hold_and_a_metric_says_so(
    serve: Serve, redis: RedisServer, fault: str
) -> None:
    slipway = serve(redis_url=redis.url, rate_limit=60, rate_limit_window=3600)
    headers = sign_in(slipway)
    assert _metric(slipway, 'slipway_degraded{dependency="redis"}') == 0
    (redis.stop if fault == "gone" else redis.pause)()
    try:
        replies = [httpx.get(f"{slipway.base}/api/v1/users/me", headers=headers, timeout=5) for _ in range(70)]
        assert {reply.status_code for reply in replies} == {200, 429}
        assert replies[-1].headers["Retry-After"]
        assert _metric(slipway, 'slipway_degraded{dependency="redis"}') == 1
    finally:
        (redis.start if fault == "gone" else redis.resume)()
    await until(lambda: _metric(slipway, 'slipway_degraded{dependency="redis"}') == 0, within=10)


async def test_without_the_collector_nothing_is_noticed_but_a_metric(serve: Serve) -> None:
    slipway = serve(otlp_endpoint=f"http://127.0.0.1:{free_port()}", trace_sample_ratio=1)
    headers = sign_in(slipway)
    for _ in range(20):
        assert httpx.get(f"{slipway.base}/api/v1/items", headers=headers).status_code == 200
    await until(lambda: (_metric(slipway, "slipway_trace_export_failures_total") or 0) > 0, within=20)
