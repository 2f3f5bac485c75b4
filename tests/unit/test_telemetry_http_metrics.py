"""HTTP metrics: right labels, few of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import metrics as stock
from starlette.routing import Mount, Route

from servers.asgi import WholeEdge, call
from slipway.settings import Settings
from slipway.telemetry.http_metrics import HttpMetrics, RouteTable
from slipway.telemetry.registry import REGISTRY


async def _nothing() -> None:
    return


def api() -> FastAPI:
    app = FastAPI()
    items = APIRouter(prefix="/items")
    items.get("/{item_id}")(_nothing)
    items.get("/{item_id}/files/{name:path}")(_nothing)
    users = APIRouter(prefix="/users")
    users.get("/me")(_nothing)
    users.get("/{user_id}")(_nothing)
    v1 = APIRouter(prefix="/api/v1")
    v1.include_router(items)
    v1.include_router(users)
    app.include_router(v1)
    app.get("/health")(_nothing)
    app.mount("/static", lambda *_: None)  # type: ignore[arg-type, return-value]
    app.router.routes.append(Mount("/nested", routes=[Route("/a/{x}", _nothing), Route("/b", _nothing)]))
    return app


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/health", "/health"),
        ("/api/v1/users/me", "/api/v1/users/me"),
        ("/api/v1/users/42", "/api/v1/users/{user_id}"),
        ("/api/v1/items/42", "/api/v1/items/{item_id}"),
        ("/api/v1/items/42/files/a/b.txt", "/api/v1/items/{item_id}/files/{name}"),
        ("/static/x.js", "/static/{path}"),
        ("/nested/a/1", "/nested/a/{x}"),
        ("/nested/b", "/nested/b"),
        ("/api/v1/items/", None),
        ("/api/v1/items/42/", None),
        ("/healthy", None),
        ("/", None),
    ],
)
def test_a_path_finds_the_template_of_its_route(path: str, route: str | None) -> None:
    assert RouteTable(api().routes).resolve(path) == route


def test_an_application_without_routes_resolves_nothing() -> None:
    assert RouteTable([]).resolve("/x") is None


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def count() -> Callable[..., float]:
    """How much a counter grew since the test began."""
    before = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
    }

    def grown(name: str, **labels: str) -> float:
        return value(name, **labels) - before.get((name, *sorted(labels.items())), 0.0)

    return grown


async def test_a_request_is_counted_and_timed_by_route(count: Callable[..., float]) -> None:
    whole = WholeEdge(api(), Settings())
    await call(whole.edge, path="/api/v1/items/1")
    await call(whole.edge, path="/api/v1/items/2")
    route = "/api/v1/items/{item_id}"
    assert count("http_requests_total", method="GET", handler=route, status="200") == 2
    assert count("http_request_duration_seconds_count", method="GET", handler=route) == 2


async def test_unmatched_paths_and_made_up_methods_share_one_label_each(count: Callable[..., float]) -> None:
    whole = WholeEdge(api(), Settings())
    for number in range(5):
        await call(whole.edge, f"M{number}", f"/nowhere/{number}")
    assert count("http_requests_total", method="OTHER", handler="none", status="404") == 5
    handlers = {s.labels["handler"] for f in REGISTRY.collect() for s in f.samples if s.name == "http_requests_total"}
    assert not any(handler.startswith("/nowhere") for handler in handlers)


async def test_a_request_in_work_is_in_the_gauge() -> None:
    app = api()
    seen: list[float] = []

    @app.get("/look")
    async def look() -> None:
        seen.append(value("http_requests_in_progress"))

    whole = WholeEdge(app, Settings())
    await call(whole.edge, path="/look")
    assert seen == [1.0]
    assert value("http_requests_in_progress") == 0.0


async def test_the_librarys_own_instrumentations_work_beside_ours() -> None:
    whole = WholeEdge(api(), Settings())
    stock_registry = CollectorRegistry()
    extra = stock.requests(metric_name="stock_requests_total", registry=stock_registry)
    assert extra is not None
    whole.edge._inside = HttpMetrics(whole.edge._guard, lambda *_: None, extra)  # noqa: SLF001 - one instrumentation more
    await call(whole.edge, path="/health")
    assert (
        stock_registry.get_sample_value(
            "stock_requests_total", {"handler": "/health", "method": "GET", "status": "200"}
        )
        == 1
    )
