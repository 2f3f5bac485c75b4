"""What the API serves about itself, to whom, and at what cost."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from slipway.app import open_app, openapi_document
from slipway.edge.drain import DrainState
from slipway.http import docs_pages
from slipway.local.standalone import run_settings
from slipway.resources import Resources
from slipway.settings import Settings
from slipway.telemetry.logs import configure_logging

DOCUMENT = "/openapi.json"
PAGES = ("/docs", "/redoc", "/static-offline-docs/swagger-ui.css")


@asynccontextmanager
async def serving(resources: Resources, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    told = replace(resources, settings=resources.settings.with_changes(**settings))
    lines = configure_logging(told.settings, io.StringIO())
    async with open_app(told, lines, DrainState()) as app:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
            yield client


async def test_nobody_gets_the_document_unasked_and_it_is_as_unknown_as_any_path(resources: Resources) -> None:
    async with serving(resources) as client:
        unknown = (await client.get("/nowhere")).json()
        for path in (DOCUMENT, *PAGES):
            reply = await client.get(path)
            assert reply.status_code == 404
            assert {**reply.json(), "request_id": ""} == {**unknown, "request_id": ""}


@pytest.mark.parametrize("asked", [{"debug": True}, {"openapi": True}])
async def test_in_development_it_is_served_with_its_pages_where_it_was_asked_for(
    resources: Resources, asked: dict[str, bool]
) -> None:
    async with serving(resources, **asked) as client:
        assert (await client.get(DOCUMENT)).json() == openapi_document(Settings())
        for path in PAGES:
            assert (await client.get(path)).status_code == 200


async def test_in_production_the_document_may_be_served_and_its_pages_are_not(resources: Resources) -> None:
    async with serving(resources, openapi=True, environment="production") as client:
        assert (await client.get(DOCUMENT)).status_code == 200
        for path in PAGES:
            assert (await client.get(path)).status_code == 404


async def test_where_the_files_of_the_pages_are_missing_the_document_is_served_alone(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_pages, "find_spec", lambda _: None)
    async with serving(resources, debug=True) as client:
        assert (await client.get(DOCUMENT)).status_code == 200
        assert (await client.get("/docs")).status_code == 404


async def test_its_bytes_are_made_once_and_sent_only_to_who_lacks_them(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    dumps = docs_pages.orjson.dumps
    monkeypatch.setattr(docs_pages.orjson, "dumps", lambda document: made.append(1) or dumps(document))
    async with serving(resources, openapi=True) as client:
        first, second = await client.get(DOCUMENT), await client.get(DOCUMENT)
        assert first.content == second.content
        assert len(made) == 1
        assert first.headers["Cache-Control"] == "public, max-age=60"
        head = await client.head(DOCUMENT)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(first.content)))
        known = await client.get(DOCUMENT, headers={"If-None-Match": first.headers["ETag"]})
        assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert known.headers["Cache-Control"] == first.headers["Cache-Control"]


async def test_the_frameworks_own_route_would_make_them_each_time() -> None:
    made: list[int] = []
    api = FastAPI()
    document = api.openapi
    api.openapi = lambda: made.append(1) or document()  # type: ignore[method-assign,func-returns-value]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://slipway.test") as client:
        for _ in range(2):
            assert "ETag" not in (await client.get(DOCUMENT)).headers
    assert len(made) == 2


@pytest.mark.parametrize(
    ("told", "served"),
    [
        ({}, True),
        ({"debug": True}, True),
        ({"debug": False}, False),
        ({"openapi": False}, False),
        ({"debug": False, "openapi": True}, True),
    ],
)
def test_run_serves_the_pages_unless_it_was_told_otherwise(told: dict[str, bool], served: bool) -> None:  # noqa: FBT001 - a case
    settings = run_settings(Settings(**told))  # type: ignore[arg-type]
    assert docs_pages.serves_pages(settings) == served
    assert settings.debug == told.get("debug", False)
