"""What a job has in common with the request that wanted it: the request's id, and its trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from slipway.context.request import RequestContext, current
from slipway.jobs.kinds import Job
from slipway.jobs.queue import REQUEST_ID
from slipway.telemetry import spans

_propagator = TraceContextTextMapPropagator()


@contextmanager
def job_context(job: Job) -> Iterator[None]:
    """Run a job as a part of its request's trace; one that no request wanted gets a trace and an id of its own."""
    parent = _propagator.extract(dict(job.context), otel_context.Context())
    outer = otel_context.attach(parent)
    attributes: dict[str, str | int] = {"job.name": job.name, "job.id": job.id, "job.attempt": job.attempts}
    span = spans.start_span(f"job {job.name}", kind=trace.SpanKind.CONSUMER, attributes=attributes)
    request = current.set(_request(job, span))
    inner = otel_context.attach(trace.set_span_in_context(span, parent))
    try:
        yield
    finally:
        otel_context.detach(inner)
        current.reset(request)
        otel_context.detach(outer)
        span.end()


def _request(job: Job, span: trace.Span) -> RequestContext:
    request = RequestContext(job.context.get(REQUEST_ID, f"job-{job.id}"))
    made = span.get_span_context()
    if made.is_valid:
        request.trace_id, request.span_id = f"{made.trace_id:032x}", f"{made.span_id:016x}"
        request.trace_flags = f"{int(made.trace_flags):02x}"
    request.span = span if span.is_recording() else None
    return request
