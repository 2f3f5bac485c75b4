"""Spans on their way to the collector: bounded in memory and time, and never in a request's way.

Imported only where spans are exported: the OTLP exporter costs memory and start-up time.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from slipway.telemetry.registry import DEGRADED, EXPORT_FAILURES

EXPORT_TIMEOUT = 3.0
"""Longest that sending one batch takes, retries included, in seconds."""
SHUTDOWN_TIMEOUT = 1.0
"""Longest that `shutdown` takes, in seconds, whatever the collector does."""
QUEUE_SIZE = 2048
BATCH_SIZE = 128
BATCH_DELAY_MS = 1000

log = logging.getLogger("slipway.telemetry")


class WatchedExporter(SpanExporter):
    """Counts what the collector doesn't take, and says once when it goes and when it is back."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._degraded = DEGRADED.labels("collector")
        self._degraded.set(0)
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001 - whatever the exporter meets, it is a batch lost and no more
            result = SpanExportResult.FAILURE
        self._note(taken=result is SpanExportResult.SUCCESS)
        return result

    def _note(self, *, taken: bool) -> None:
        if not taken:
            EXPORT_FAILURES.inc()
        if taken == self._away:
            self._away = not taken
            self._degraded.set(int(self._away))
            if self._away:
                log.warning("The trace collector doesn't take spans; they are dropped until it does.")
            else:
                log.info("The trace collector takes spans again.")

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class BoundedBatchProcessor(BatchSpanProcessor):
    """A batch processor whose shutdown ends in time: the SDK's own waits up to 30 s for its last batch."""

    def shutdown(self) -> None:
        closing = threading.Thread(target=super().shutdown, name="slipway-trace-shutdown", daemon=True)
        closing.start()
        closing.join(SHUTDOWN_TIMEOUT)


def batch_processor(endpoint: str | None, exporter: SpanExporter | None = None) -> BoundedBatchProcessor:
    """A processor that exports to OTLP/HTTP at `endpoint` (its base URL), or to the exporter given."""
    return BoundedBatchProcessor(
        WatchedExporter(exporter or _otlp_exporter(endpoint or "")),
        max_queue_size=QUEUE_SIZE,
        schedule_delay_millis=BATCH_DELAY_MS,
        max_export_batch_size=BATCH_SIZE,
    )


def _otlp_exporter(endpoint: str) -> SpanExporter:
    # Loaded by requests to guess the encoding of replies (3 MiB); without it that takes them for UTF-8, and warns.
    sys.modules.setdefault("charset_normalizer", None)  # type: ignore[arg-type] # "not there", to the import system
    with warnings.catch_warnings(action="ignore"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - heavy

        return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)
