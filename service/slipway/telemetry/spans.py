"""Spans of what a request does; they cost nearly nothing while its trace isn't sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from slipway.context.request import current

_tracer: trace.Tracer = trace.get_tracer("slipway")


def use_tracer(tracer: trace.Tracer) -> None:
    """Make child spans with this tracer from now on; `Tracing` calls it when it is made."""
    global _tracer  # noqa: PLW0603 - one tracer a process; passing it to every caller of span() would say nothing
    _tracer = tracer


def recording() -> bool:
    """Whether a child span would be recorded here."""
    context = current.get()
    if context is not None and context.span is None:
        return False
    return trace.get_current_span().is_recording()


@contextmanager
def span(
    name: str,
    *,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[trace.Span]:
    """A child of the current span when that one is recorded; otherwise nothing is made."""
    if not recording():
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(name, kind=kind, attributes=attributes, record_exception=False) as child:
        yield child


def start_span(
    name: str, *, kind: trace.SpanKind, attributes: Mapping[str, AttributeValue] | None = None
) -> trace.Span:
    """A child that the caller ends itself; ask `recording()` first."""
    return _tracer.start_span(name, kind=kind, attributes=attributes)
