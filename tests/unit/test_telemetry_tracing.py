"""Which requests are traced, under which ids, and what a missing collector costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from servers.asgi import WholeEdge, call
from servers.otlp import Collector
from servers.waiting import free_port, until
from slipway.context.request import RequestContext
from slipway.settings import Settings
from slipway.telemetry import tracing as tracing_module
from slipway.telemetry.exporting import SHUTDOWN_TIMEOUT
from slipway.telemetry.registry import DEGRADED, EXPORT_FAILURES
from slipway.telemetry.spans import span
from slipway.telemetry.tracing import Tracing, inject_headers

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Kept(SpanExporter):
    """Keeps spans in memory."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return


class Traced:
    """An edge that exports to memory; the handler makes a child span and tells what it would send on."""

    def __init__(self, ratio: float) -> None:
        self.kept = Kept()
        self.outgoing: dict[str, str] = {}
        self.tracing = Tracing(Settings(trace_sample_ratio=ratio), exporter=self.kept)
        app = FastAPI()

        @app.get("/items/{item_id}")
        async def item(item_id: str) -> str:
            with span("work", attributes={"item": item_id}):
                self.outgoing = inject_headers()
            return item_id

        @app.get("/boom")
        async def boom() -> None:
            raise ValueError

        self.whole = WholeEdge(app, Settings(), self.tracing)

    async def get(self, path: str = "/items/7", **headers: str) -> None:
        await call(self.whole.edge, path=path, headers=headers)

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracing.shutdown()
        return {span.name: span for span in self.kept.spans}


@pytest.fixture
def never() -> Iterator[Traced]:
    traced = Traced(0)
    yield traced
    traced.tracing.shutdown()


@pytest.fixture
def always() -> Iterator[Traced]:
    traced = Traced(1)
    yield traced
    traced.tracing.shutdown()


async def test_a_request_makes_one_server_span_with_the_route_as_its_name(always: Traced) -> None:
    await always.get()
    spans = always.spans()
    assert set(spans) == {"GET /items/{item_id}", "work"}
    server = spans["GET /items/{item_id}"]
    assert server.kind is trace.SpanKind.SERVER
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["http.route"] == "/items/{item_id}"
    assert spans["work"].parent == server.context


async def test_log_line_and_span_share_their_ids(always: Traced) -> None:
    await always.get(**{"X-Request-ID": "r-1"})
    (line,) = always.whole.access()
    server = always.spans()["GET /items/{item_id}"]
    assert server.context is not None
    assert line["trace_id"] == f"{server.context.trace_id:032x}"
    assert line["span_id"] == f"{server.context.span_id:016x}"
    assert server.attributes is not None
    assert server.attributes["slipway.request_id"] == "r-1"


async def test_a_server_error_marks_the_span(always: Traced) -> None:
    await always.get("/boom")
    assert always.spans()["GET /boom"].status.status_code is trace.StatusCode.ERROR


async def test_an_unsampled_request_makes_no_span_but_has_ids(never: Traced) -> None:
    await never.get()
    (line,) = never.whole.access()
    assert len(line["trace_id"]) == 32
    assert never.outgoing["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-00"
    assert never.spans() == {}


@pytest.mark.parametrize(
    ("ratio", "flag", "recorded"), [(1, "01", True), (1, "00", False), (0, "01", False), (1, "03", True)]
)
async def test_a_caller_may_keep_a_request_out_of_tracing_but_not_force_it_in(
    ratio: float,
    flag: str,
    recorded: bool,  # noqa: FBT001 - a case
) -> None:
    traced = Traced(ratio)
    await traced.get(traceparent=f"00-{TRACE}-{PARENT}-{flag}", tracestate="vendor=1")
    assert traced.whole.access()[0]["trace_id"] == TRACE
    assert traced.outgoing["traceparent"].startswith(f"00-{TRACE}-")
    assert traced.outgoing["traceparent"].endswith("01" if recorded else "00")
    assert PARENT not in traced.outgoing["traceparent"]
    assert traced.outgoing["tracestate"] == "vendor=1"
    spans = traced.spans()
    assert bool(spans) == recorded
    if recorded:
        parent = spans["GET /items/{item_id}"].parent
        assert parent is not None
        assert f"{parent.span_id:016x}" == PARENT


ALWAYS_SAMPLED = "ffffffffffffffff0000000000000001"
"""A trace id that sampling by its bits records at any ratio."""


async def _recorded(trace_id: str | None, requests: int = 200) -> int:
    traced = Traced(0.1)
    headers = {"traceparent": f"00-{trace_id}-{PARENT}-01"} if trace_id else {}
    for _ in range(requests):
        await traced.get(**headers)
    traced.tracing.shutdown()
    return sum(span.name.startswith("GET") for span in traced.kept.spans)


@pytest.mark.parametrize("trace_id", [None, TRACE, ALWAYS_SAMPLED])
async def test_no_flag_and_no_trace_id_has_more_recorded_than_the_share(trace_id: str | None) -> None:
    # 20 of 200 are expected; 60 or more would come four times in 10^15 runs.
    assert await _recorded(trace_id) < 60


@pytest.mark.parametrize(("below", "recorded"), [(1, True), (0, False)])
@pytest.mark.parametrize("flags", [None, "01"])
async def test_what_is_drawn_decides_at_the_very_ratio(
    monkeypatch: pytest.MonkeyPatch, flags: str | None, below: int, *, recorded: bool
) -> None:
    drawn = (1 << 62) - below
    # The trace id's low half decides where we make it, and a draw of its own where a caller did.
    monkeypatch.setattr(tracing_module, "getrandbits", lambda bits: drawn << 64 | 7 if bits == 192 else 5 << 64 | drawn)
    tracing = Tracing(Settings(trace_sample_ratio=0.25), exporter=Kept())
    parent = f"00-{TRACE}-{PARENT}-{flags}".encode() if flags else None
    context = RequestContext("id")
    assert tracing.begin(context, parent, None) is recorded
    assert context.trace_id == (TRACE if flags else f"{drawn:032x}")
    assert context.span_id == ("0000000000000005" if flags else "0000000000000007")
    tracing.shutdown()


async def test_without_a_draw_of_its_own_every_request_of_such_a_caller_would_be_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing_module, "getrandbits", lambda _: 1 << 64)
    assert await _recorded(ALWAYS_SAMPLED, 20) == 20


@pytest.mark.parametrize(
    "broken",
    ["", "00", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01", "00-X-Y-01"],
)
@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_broken_traceparent_starts_a_new_trace(broken: str, ratio: float) -> None:
    traced = Traced(ratio)
    await traced.get(traceparent=broken)
    traced.tracing.shutdown()
    assert traced.whole.access()[0]["trace_id"] not in {TRACE, "0" * 32}
    assert [span.parent for span in traced.kept.spans if span.name.startswith("GET")] == [None] * int(ratio)


async def test_about_the_configured_share_is_recorded() -> None:
    traced = Traced(0.5)
    for _ in range(200):
        await traced.get()
    traced.tracing.shutdown()
    recorded = sum(span.name.startswith("GET") for span in traced.kept.spans)
    assert 60 < recorded < 140


async def test_the_next_request_of_a_task_does_not_inherit_a_span(always: Traced) -> None:
    await always.get()
    assert not trace.get_current_span().is_recording()
    assert inject_headers() == {}


async def test_without_an_endpoint_nothing_is_recorded_at_any_ratio() -> None:
    tracing = Tracing(Settings(trace_sample_ratio=1))
    whole = WholeEdge(FastAPI(), Settings(), tracing)
    await call(whole.edge)
    assert tracing.exports is False
    tracing.shutdown()


async def test_a_missing_collector_is_a_metric_and_nothing_else() -> None:
    failures = EXPORT_FAILURES._value.get()  # noqa: SLF001 - the metric's own value
    settings = Settings(trace_sample_ratio=1, otlp_endpoint=f"http://127.0.0.1:{free_port()}")
    tracing = Tracing(settings)
    whole = WholeEdge(FastAPI(), settings, tracing)
    reply = await call(whole.edge)
    assert reply.status == 404
    began = monotonic()
    tracing.shutdown()
    assert monotonic() - began < SHUTDOWN_TIMEOUT + 0.5
    await until(lambda: EXPORT_FAILURES._value.get() > failures)  # noqa: SLF001
    assert DEGRADED.labels("collector")._value.get() == 1  # noqa: SLF001


async def test_a_collector_that_stalls_does_not_hold_up_the_shutdown() -> None:
    collector = Collector()
    collector.go.clear()
    settings = Settings(trace_sample_ratio=1, otlp_endpoint=collector.url)
    tracing = Tracing(settings)
    await call(WholeEdge(FastAPI(), settings, tracing).edge)
    began = monotonic()
    tracing.shutdown()
    took = monotonic() - began
    collector.close()
    assert took < SHUTDOWN_TIMEOUT + 0.5
