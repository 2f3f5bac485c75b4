from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from servers.jobs import done, rows, working
from servers.staging import staged
from slipway.exports.service import MOST_UNFINISHED
from slipway.resources import Resources
from slipway.worker import job_kinds


async def work(resources: Resources) -> None:
    kinds = {name: kind for name, kind in job_kinds(resources.settings, resources.database).items() if not kind.every}
    async with working(resources.settings, resources.database, kinds):
        await done(resources.database)


async def test_an_export_is_asked_for_made_and_fetched(user: Any, resources: Resources) -> None:
    await user.client.post("/api/v1/items", json={"title": "Paint the hull"})
    asked = await user.client.post("/api/v1/exports", json={"format": "jsonl"})
    assert asked.status_code == 202
    assert asked.json()["state"] == "queued"
    location = asked.headers["location"]
    early = await user.client.get(f"{location}/file")
    assert (early.status_code, early.headers["retry-after"]) == (409, "2")
    await work(resources)
    assert (await user.client.get(location)).json()["state"] == "done"
    file = await user.client.get(f"{location}/file")
    assert file.status_code == 200
    assert file.headers["content-type"] == "application/x-ndjson"
    assert file.headers["content-length"] == str(len(file.content))
    assert file.headers["content-disposition"] == f'attachment; filename="items-{asked.json()["id"]}.jsonl"'
    assert b"Paint the hull" in file.content


async def test_a_csv_file_says_what_it_is(user: Any, resources: Resources) -> None:
    asked = await user.client.post("/api/v1/exports", json={"format": "csv"})
    await work(resources)
    file = await user.client.get(f"{asked.headers['location']}/file")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"


async def test_exports_of_others_are_not_there(user: Any, sign_in: Callable[..., Awaitable[Any]]) -> None:
    stranger = await sign_in("items:read", "admin:write")
    asked = await user.client.post("/api/v1/exports", json={"format": "csv"})
    location = asked.headers["location"]
    assert (await stranger.client.get(location)).status_code == 404
    assert (await stranger.client.get(f"{location}/file")).status_code == 404
    assert (await stranger.client.get("/api/v1/exports")).json()["items"] == []


async def test_own_exports_are_listed(user: Any) -> None:
    ids = [(await user.client.post("/api/v1/exports", json={"format": "csv"})).json()["id"] for _ in range(3)]
    page = (await user.client.get("/api/v1/exports", params={"per_page": 2})).json()
    assert ([export["id"] for export in page["items"]], page["total"]) == (ids[:2], 3)


async def test_an_expired_export_is_gone(user: Any, resources: Resources) -> None:
    asked = await user.client.post("/api/v1/exports", json={"format": "csv"})
    async with staged(resources.database) as session:
        await session.execute(text("UPDATE exports SET expires_at = now()"))
    assert (await user.client.get(asked.headers["location"])).status_code == 404


async def test_a_repeated_request_makes_one_export(user: Any, resources: Resources) -> None:
    headers = {"Idempotency-Key": "one-export-only"}
    first, second = [
        await user.client.post("/api/v1/exports", json={"format": "csv"}, headers=headers) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert len(await rows(resources.database)) == 1


async def test_nobody_fills_the_queue_alone(user: Any, resources: Resources) -> None:
    for _ in range(MOST_UNFINISHED):
        assert (await user.client.post("/api/v1/exports", json={"format": "csv"})).status_code == 202
    assert (await user.client.post("/api/v1/exports", json={"format": "csv"})).status_code == 409
    await work(resources)
    assert (await user.client.post("/api/v1/exports", json={"format": "csv"})).status_code == 202


async def test_an_unknown_format_is_the_client_s_mistake(user: Any) -> None:
    assert (await user.client.post("/api/v1/exports", json={"format": "pdf"})).status_code == 422
