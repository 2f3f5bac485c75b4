"""Server spans: W3C context in and out, sampled before anything is built.

An unsampled request gets a trace id and a span id of its own (one draw of random bits), so that its log lines and the
calls it makes can be followed; no span object is made for it.
"""

from __future__ import annotations

import re
from random import getrandbits
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from slipway.context.request import RequestContext, current
from slipway.settings import Settings
from slipway.telemetry import spans
from slipway.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
LONGEST_TRACE_STATE = 512
_LOW_64_BITS = (1 << 64) - 1
_SERVER_ERROR = 500


class _GivenTraceIds(RandomIdGenerator):
    """Lets a root span carry the trace id that the sampling decision was made with."""

    def __init__(self) -> None:
        self.given: int | None = None

    def generate_trace_id(self) -> int:
        given, self.given = self.given, None
        return super().generate_trace_id() if given is None else given


class Tracing:
    """The process's tracer. `begin` and `end` frame a request; everything between may use `spans.span()`."""

    def __init__(self, settings: Settings, *, exporter: SpanExporter | None = None) -> None:
        self._ratio = settings.trace_sample_ratio
        self._bound = TraceIdRatioBased.get_bound_for_rate(self._ratio)
        self._ids = _GivenTraceIds()
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(self._ratio)),
            resource=Resource({SERVICE_NAME: "slipway", SERVICE_VERSION: VERSION}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self.exports = exporter is not None or settings.otlp_endpoint is not None
        if self.exports:
            from slipway.telemetry.exporting import batch_processor  # noqa: PLC0415 - 15 MiB that only exporting needs

            self._provider.add_span_processor(batch_processor(settings.otlp_endpoint, exporter))
        self.tracer = self._provider.get_tracer("slipway", VERSION)
        spans.use_tracer(self.tracer)

    def begin(self, context: RequestContext, traceparent: bytes | None, tracestate: bytes | None) -> bool:
        """Give the context its ids; True when a span is to be recorded (then call `start_server_span`).

        Of no caller's requests more than the ratio is recorded, whatever they send; the unsampled flag keeps one out.
        """
        parent = _parent(traceparent)
        if parent is None:
            drawn = getrandbits(192)
            ids = f"{drawn:048x}"
            context.trace_id, context.span_id = ids[:32], ids[32:]
            return (drawn >> 64) & _LOW_64_BITS < self._bound and self.exports
        drawn = getrandbits(128)
        context.trace_id = parent[1].decode()
        context.span_id = f"{drawn >> 64:016x}"
        if tracestate is not None and len(tracestate) <= LONGEST_TRACE_STATE:
            context.trace_state = tracestate.decode("latin-1")
        # Drawn anew: a caller chooses flag and trace id, and would choose those that are always recorded.
        asked = bool(int(parent[3], 16) & TraceFlags.SAMPLED)
        return asked and drawn & _LOW_64_BITS < self._bound and self.exports

    def start_server_span(
        self, context: RequestContext, name: str, traceparent: bytes | None, attributes: dict[str, Any]
    ) -> object:
        """Make the span that `begin` asked for and make it the current one; give the result to `end`."""
        parent = _parent(traceparent)
        if parent is not None:
            remote = SpanContext(
                trace_id=int(parent[1], 16),
                span_id=int(parent[2], 16),
                is_remote=True,
                trace_flags=TraceFlags(int(parent[3], 16)),
                trace_state=TraceState.from_header([context.trace_state]) if context.trace_state else None,
            )
            outer = trace.set_span_in_context(NonRecordingSpan(remote), otel_context.Context())
        else:
            outer = otel_context.Context()
            self._ids.given = int(context.trace_id or "0", 16)
        span = self.tracer.start_span(name, context=outer, kind=SpanKind.SERVER, attributes=attributes)
        made = span.get_span_context()
        context.span = span
        context.trace_id, context.span_id = f"{made.trace_id:032x}", f"{made.span_id:016x}"
        context.trace_flags = "01"
        return otel_context.attach(trace.set_span_in_context(span, outer))

    def end(self, context: RequestContext, token: Any, attributes: dict[str, Any], status: int) -> None:
        """Close the request's span; only 5xx is an error of ours."""
        otel_context.detach(token)
        span = context.span
        if span is None:
            return
        span.set_attributes(attributes)
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end(time_ns())

    def shutdown(self) -> None:
        """Send what is left; takes at most SHUTDOWN_TIMEOUT, even with the collector gone."""
        self._provider.shutdown()


def _parent(traceparent: bytes | None) -> re.Match[bytes] | None:
    """The caller's span; ids of zeros alone are none."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    return None if found is None or found[1] == b"0" * 32 or found[2] == b"0" * 16 else found


def inject_headers() -> dict[str, str]:
    """The W3C headers that continue the current trace in a call to another service; empty outside of one."""
    context = current.get()
    if context is None or context.trace_id is None:
        return {}
    span_id = context.span_id
    if context.span is not None:
        here = trace.get_current_span().get_span_context()
        span_id = f"{here.span_id:016x}" if here.is_valid else span_id
    headers = {"traceparent": f"00-{context.trace_id}-{span_id}-{context.trace_flags}"}
    if context.trace_state:
        headers["tracestate"] = context.trace_state
    return headers
