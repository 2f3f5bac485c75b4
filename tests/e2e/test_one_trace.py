"""One trace over three processes: a client that begins it, API and worker; its spans are at a real collector."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from e2e.conftest import PASSWORD, Serve
from servers.otlp import Collector, attributes
from servers.slipway import SlipwayProcess
from servers.waiting import until
from slipway.exports.service import JOB

EXPORTS, JOB_SPAN = "/api/v1/exports", f"job {JOB}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.fixture
def traced(serve: Serve, collector: Collector) -> tuple[SlipwayProcess, SlipwayProcess]:
    settings = {"otlp_endpoint": collector.url, "trace_sample_ratio": 1.0}
    return serve(**settings), serve("worker", **settings)


class Client:
    """Whoever calls, such as a gateway: each of its requests is a part of one trace, under a span of its own."""

    def __init__(self, base: str, flags: str = "01") -> None:
        self.trace, self.span = token_hex(16), token_hex(8)
        self._base, self._headers = base, {"traceparent": f"00-{self.trace}-{self.span}-{flags}"}

    def export(self) -> None:
        """Sign in, and ask for an export."""
        with httpx.Client(base_url=self._base, headers=self._headers, timeout=10) as http:
            login = {"username": "admin@example.com", "password": PASSWORD}
            token = http.post("/api/v1/auth/token", data=login).raise_for_status().json()["access_token"]
            asked = http.post(EXPORTS, json={"format": "csv"}, headers={"Authorization": f"Bearer {token}"})
        assert asked.status_code == 202, asked.text


def logged(process: SlipwayProcess, trace: str) -> list[dict[str, Any]]:
    """The lines of a process that name a trace."""
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["trace_id"] == trace]


def below(spans: list[Span], parent: Span) -> list[Span]:
    return [span for span in spans if span.parent_span_id == parent.span_id]


def exemplars(api: SlipwayProcess) -> set[tuple[str, str]]:
    """Routes and the traces to which their latency leads, as Prometheus reads them."""
    reply = httpx.get(f"{api.ops}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    (leads,) = documented("prometheus")["exemplarTraceIdDestinations"]
    bucket = rf'^http_request_duration_seconds_bucket{{handler="([^"]+)".* # {{{leads["name"]}="(\w+)"}}'
    return set(re.findall(bucket, reply.text, re.MULTILINE))


def documented(source: str) -> dict[str, Any]:
    """How docs/observability.md sets up a data source of Grafana's."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "observability.md").read_text("utf-8")
    (block,) = re.findall(r"^```yaml\n(apiVersion.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {each["uid"]: each["jsonData"] for each in yaml.safe_load(block)["datasources"]}[source]
    return found


async def test_one_trace_leads_from_sign_in_and_export_to_the_statements_of_the_job_and_latency_leads_to_it(
    traced: tuple[SlipwayProcess, SlipwayProcess], collector: Collector
) -> None:
    api, worker = traced
    unasked, client = Client(api.base, flags="00"), Client(api.base)
    unasked.export()
    client.export()
    names = ("POST /api/v1/auth/token", f"POST {EXPORTS}", JOB_SPAN)
    await until(lambda: set(names) <= {span.name for span in collector.of(client.trace)})
    spans = collector.of(client.trace)
    sign_in, asked, job = ({span.name: span for span in spans}[name] for name in names)
    assert [span.parent_span_id.hex() for span in (sign_in, asked)] == [client.span, client.span]
    assert {span.kind for span in (sign_in, asked)} == {Span.SPAN_KIND_SERVER}
    assert (job.kind, job.parent_span_id) == (Span.SPAN_KIND_CONSUMER, asked.span_id)
    for span, statement in ((sign_in, "SELECT users"), (asked, "INSERT exports"), (job, "INSERT export_chunks")):
        (first, *_) = [each for each in below(spans, span) if each.name == statement]
        assert attributes(first)["db.system.name"] == "postgresql"

    assert {("/api/v1/auth/token", client.trace), (EXPORTS, client.trace)} <= exemplars(api)
    assert {line["path"] for line in logged(api, client.trace)} == {"/api/v1/auth/token", EXPORTS}
    assert [line["job"] for line in logged(worker, client.trace)] == [JOB]

    (field,) = documented("logs")["derivedFields"]
    for process in (api, worker):
        assert client.trace in re.findall(field["matcherRegex"], process.output)

    # Who asks for no trace gets none, and is found in the logs of both all the same.
    assert collector.of(unasked.trace) == []
    assert unasked.trace not in {trace for _, trace in exemplars(api)}
    assert [line["job"] for line in logged(worker, unasked.trace)] == [JOB]
    assert logged(api, unasked.trace)
