"""Spans of what a request does; they cost nearly nothing while its trace isn't sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

_tracer = trace.get_tracer("slipway")


@contextmanager
def span(
    name: str,
    *,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[trace.Span]:
    """A child of the current span when that one is recorded; otherwise nothing is made."""
    current = trace.get_current_span()
    if not current.is_recording():
        yield current
        return
    with _tracer.start_as_current_span(name, kind=kind, attributes=attributes) as child:
        yield child
