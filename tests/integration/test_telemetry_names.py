"""docs/observability.md is the whole list of names: nothing more, nothing less, held against the running service."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import slipway
import slipway.server  # with these two every metric is defined
import slipway.worker
from servers.asgi import Lines
from servers.otlp import Collector, attributes
from servers.redis import RedisServer
from servers.waiting import until
from slipway.app import open_app
from slipway.edge.drain import DrainState
from slipway.jobs.kinds import Job
from slipway.jobs.tracing import job_context
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.telemetry.logs import configure_logging
from slipway.telemetry.registry import REGISTRY

DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"
SOURCE = Path(slipway.__file__).parent


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the table whose first column has this heading: name → the other cells."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"| {heading} |")
    rows: dict[str, list[str]] = {}
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            break
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name.strip("` ")] = cells
    return rows


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Lines()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.fixture
async def running(
    app_settings: Settings, collector: Collector, lines: Lines, redis_server: RedisServer
) -> AsyncIterator[tuple[Resources, httpx.AsyncClient]]:
    settings = app_settings.with_changes(
        otlp_endpoint=collector.url, trace_sample_ratio=1.0, redis_url=redis_server.url
    )
    writer = configure_logging(settings, lines)  # type: ignore[arg-type]
    async with open_resources(settings) as resources, open_app(resources, writer, DrainState()) as app:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
            yield resources, client


def _own_families() -> dict[str, str]:
    return {f.name: f.type for f in REGISTRY.collect() if f.name.startswith(("slipway_", "http_", "process_"))}


def undocumented(families: dict[str, str], documented: dict[str, list[str]]) -> set[str]:
    """Names that are only on one side, or there with another type."""
    said = {(name, cells[0]) for name, cells in documented.items()}
    return {name for name, _ in said ^ set(families.items())}


async def test_every_metric_is_documented_with_its_type_and_every_documented_one_exists(
    running: tuple[Resources, httpx.AsyncClient],
) -> None:
    assert running
    assert undocumented(_own_families(), table("Metric")) == set()


async def test_metrics_have_the_documented_labels(running: tuple[Resources, httpx.AsyncClient]) -> None:
    _, client = running
    await client.get("/health")
    documented = {name: names_in(cells[1]) for name, cells in table("Metric").items()}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if family.name in documented:
                assert set(sample.labels) - {"le"} == documented[family.name], sample.name


async def test_the_line_of_a_request_has_exactly_the_documented_fields(
    running: tuple[Resources, httpx.AsyncClient], lines: Lines
) -> None:
    _, client = running
    await client.get("/health")
    await until(lines.access)
    assert list(lines.access()[0]) == [*table("Field"), *table("Access field")]


async def test_any_other_line_has_the_documented_fields(
    running: tuple[Resources, httpx.AsyncClient], lines: Lines
) -> None:
    assert running
    logging.getLogger("slipway.test").warning("an event")
    (line,) = [line for line in lines.all() if line["logger"] == "slipway.test"]
    assert list(line) == list(table("Field"))


def test_the_fields_of_events_are_documented_and_used() -> None:
    used = set(_event_fields()) - set(table("Field"))
    assert used == set(table("Event field"))


def _event_fields() -> Iterator[str]:
    """Keys of the dicts that the source gives to `extra=`, whether written there or made by a function `_fields`."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                yield from _keys(node.value)
            elif isinstance(node, ast.FunctionDef) and node.name == "_fields":
                yield from (key for part in ast.walk(node) if isinstance(part, ast.Dict) for key in _keys(part))


def _keys(literal: ast.Dict) -> list[str]:
    return [key.value for key in literal.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


KINDS = {
    "{method} {route}": r"[A-Z]+ (/\S*)",
    "{operation} {table}": r"[A-Z]+( [a-z_]+)?",
    "redis {name}": r"redis [a-z_.]+",
    "job {name}": r"job [a-z_]+",
}
"""Documented kinds of spans, and what their names look like."""


def span_faults(spans: Iterable[Span], documented: dict[str, list[str]]) -> set[str]:
    """Names of spans that the document doesn't know, or knows with other attributes."""
    faults = set()
    for span in spans:
        kind = next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, span.name)), "")
        if kind not in documented or not set(attributes(span)) <= names_in(documented[kind][1]):
            faults.add(span.name)
    return faults


@pytest.fixture
async def spans(running: tuple[Resources, httpx.AsyncClient], collector: Collector) -> list[Span]:
    """Spans of a request that asks PostgreSQL and Redis, and of a job."""
    _, client = running
    await client.post("/api/v1/auth/token", data={"username": "nobody@example.com", "password": "not the one"})
    job = Job(7, "reset_mail", payload={}, context={}, attempts=1, lease=uuid4(), created_at=datetime.now(UTC))
    with job_context(job):
        pass
    seen: set[str] = set()

    def every_kind_arrived() -> bool:
        seen.update(kind for span in collector.spans for kind in KINDS if re.fullmatch(KINDS[kind], span.name))
        return seen == set(KINDS)

    await until(every_kind_arrived, within=10)
    return list(collector.spans)


async def test_spans_have_documented_names_and_attributes(spans: list[Span]) -> None:
    assert set(table("Span")) == set(KINDS)
    assert span_faults(spans, table("Span")) == set()


async def test_a_kind_of_span_missing_from_the_document_would_be_noticed(spans: list[Span]) -> None:
    """Negative control."""
    documented = table("Span")
    del documented["job {name}"]
    assert span_faults(spans, documented) == {"job reset_mail"}


def test_a_metric_missing_from_the_document_would_be_noticed() -> None:
    """Negative control."""
    documented = table("Metric")
    del documented["slipway_logins"]
    assert undocumented(_own_families(), documented) == {"slipway_logins"}
    documented = {**table("Metric"), "slipway_no_more": ["counter"]}
    assert undocumented(_own_families(), documented) == {"slipway_no_more"}
