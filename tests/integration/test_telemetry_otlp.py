"""One request followed by its id: reply, log line, server span at a real collector, SQL span on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from servers.asgi import Lines
from servers.otlp import Collector, attributes
from servers.waiting import until
from slipway.app import open_app
from slipway.edge.drain import DrainState
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.telemetry import spans, sql
from slipway.telemetry.logs import LineWriter


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.fixture
async def resources(app_settings: Settings, collector: Collector) -> AsyncIterator[Resources]:
    traced = app_settings.with_changes(otlp_endpoint=collector.url, trace_sample_ratio=1.0)
    async with open_resources(traced) as opened:
        yield opened


async def follow(resources: Resources, lines: Lines, request_id: str) -> httpx.Response:
    """Ask for something that reads the database, under a given id."""
    writer = LineWriter(lines)  # type: ignore[arg-type]
    async with open_app(resources, writer, DrainState()) as app:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
            return await client.post(
                "/api/v1/auth/token",
                data={"username": "nobody@example.com", "password": "not the one"},
                headers={"X-Request-ID": request_id},
            )


def _server_span(collector: Collector, request_id: str) -> Span | None:
    return next((s for s in collector.spans if attributes(s).get("slipway.request_id") == request_id), None)


async def test_one_request_id_leads_from_the_reply_to_its_sql(resources: Resources, collector: Collector) -> None:
    lines = Lines()
    reply = await follow(resources, lines, "follow-me-1")
    assert reply.status_code == 401
    assert reply.headers["X-Request-ID"] == reply.json()["request_id"] == "follow-me-1"

    (line,) = [line for line in lines.access() if line["request_id"] == "follow-me-1"]
    await until(lambda: _server_span(collector, "follow-me-1"))
    server = _server_span(collector, "follow-me-1")
    assert server is not None
    assert server.name == "POST /api/v1/auth/token"
    assert (server.trace_id.hex(), server.span_id.hex()) == (line["trace_id"], line["span_id"])

    statements = [s for s in collector.spans if s.trace_id == server.trace_id and s.kind == Span.SPAN_KIND_CLIENT]
    named = {span.name: attributes(span) for span in statements}
    assert "SELECT users" in named
    assert named["SELECT users"]["db.system.name"] == "postgresql"
    assert "$1" in named["SELECT users"]["db.query.text"]
    assert "nobody@example.com" not in str(named)
    assert collector.services == {"slipway"}


async def test_where_statements_make_none_there_is_no_sql_span(
    resources: Resources, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made_in in (sql, spans):
        monkeypatch.setattr(made_in, "recording", lambda: False)
    await follow(resources, Lines(), "follow-me-2")
    await until(lambda: _server_span(collector, "follow-me-2"))
    assert collector.named("SELECT users") == []
