"""What isn't one's own isn't there: on no route with an id does a reply or a lock tell it from what doesn't exist."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import bindparam, select, text

from integration.conftest import Person, SignIn
from integration.domains.kept import DOCUMENT, KEPT, Kept, body_of, each_kept
from integration.sql import run_sql
from servers.staging import staged
from slipway.app import ROUTERS
from slipway.auth.permissions import defaults
from slipway.items.models import Item
from slipway.items.service import ITEMS
from slipway.resources import Resources
from slipway.storage.statements import Statement

LIVING = {"x-request-id", "ratelimit"}
"""Headers that differ between any two replies."""


def routes() -> Iterator[tuple[str, str, str]]:
    """Method, path and what names an id in it, of every route that has one: in its path, or asked for in its query."""
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            asked = [each.alias for each in route.dependant.query_params if each.alias.endswith("_id")]
            for name in sorted({*re.findall(r"{(\w+)}", route.path), *asked} - {"request_id"}):  # that is nobody's
                for method in sorted(route.methods | ({"HEAD"} if "GET" in route.methods else set())):
                    yield method, route.path, name


ROUTES = list(routes())
PLACES = sorted({path.split("/")[3] for _, path, _ in ROUTES})
each_place = pytest.mark.parametrize("place", PLACES)


def example(method: str, path: str) -> Any:
    operation = DOCUMENT["paths"][path].get(method.lower(), {})
    for media in operation.get("requestBody", {}).get("content", {}).values():
        return media.get("example") or body_of(operation)["examples"][0]
    return None


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with its ETag": {"headers": {"If-Match": '"1"'}},
    "with another ETag": {"headers": {"If-Match": '"999", W/"7"'}},
    "with an ETag that is none": {"headers": {"If-Match": "999"}},
    "unless known": {"headers": {"If-None-Match": '"1"'}},
    "unless there": {"headers": {"If-None-Match": "*"}},
    "with a key": {"headers": {"Idempotency-Key": "a-key-of-the-stranger"}},
    "with a senseless body": {"json": {"nonsense": 1}},
    "with no JSON": {"content": b"{", "headers": {"Content-Type": "application/json"}},
}


@pytest.fixture
async def theirs(sign_in: SignIn, resources: Resources) -> dict[str, str]:
    """By the name of an id's parameter: one of somebody else's."""
    other = await sign_in(*defaults())
    kept = {each.parameter: (await other.client.post(each.at, json=each.body)).json()["id"] for each in KEPT}
    export = (await other.client.post("/api/v1/exports", json={"format": "csv"})).json()["id"]
    await run_sql(resources, "UPDATE exports SET state = 'done', row_count = 0, byte_count = 0")
    [session] = (await other.client.get("/api/v1/auth/sessions")).json()["items"]
    return {
        "user_id": other.id,
        "owner_id": other.id,
        **kept,
        "export_id": export,
        "session_id": session["id"],
    }


def id_of(theirs: dict[str, str], path: str, name: str) -> str:
    """By the name of the parameter; below what is kept any other one is the id of such a one."""
    [kept] = [each.parameter for each in KEPT if path.startswith(f"{each.at}/")] or [""]
    return theirs.get(name) or theirs[kept]


Told = tuple[int, dict[str, str], Any]


async def told(client: httpx.AsyncClient, method: str, path: str, name: str, id_: str, variant: dict[str, Any]) -> Told:
    url = path.replace(f"{{{name}}}", id_)
    asked = {} if url != path else {name: id_}
    body = {"json": example(method, path)} if "json" not in variant and "content" not in variant else {}
    reply = await client.request(method, url, params=asked, **{**body, **variant})
    headers = {key: value for key, value in reply.headers.items() if key not in LIVING}
    document = reply.json() if reply.content else {}
    document.pop("request_id", None)
    return reply.status_code, headers, document


def test_routes_with_ids_are_found() -> None:
    assert {name for _, _, name in ROUTES} >= {
        "user_id", "owner_id", "export_id", "session_id", *(kept.parameter for kept in KEPT),
    }  # fmt: skip
    assert len(ROUTES) >= 16


Expected = Callable[[str, Told], bool]


async def faults(
    client: httpx.AsyncClient,
    theirs: dict[str, str],
    variants: dict[str, dict[str, Any]],
    expected: Expected,
    place: str,
) -> list[str]:
    """Where what is somebody's is answered otherwise than what doesn't exist, or not as `expected`."""
    found = []
    for method, path, name in (route for route in ROUTES if route[1].startswith(f"/api/v1/{place}")):
        for what, variant in variants.items():
            ours, nobodys = [
                await told(client, method, path, name, id_, variant)
                for id_ in (id_of(theirs, path, name), str(uuid4()))
            ]
            if ours != nobodys or not expected(what, ours):
                found.append(f"{method} {path} by {name}, {what}: {ours} for theirs, {nobodys} for nobody's")
    return found


@each_place
async def test_what_is_a_strangers_is_answered_like_what_does_not_exist(
    user: Person, theirs: dict[str, str], place: str
) -> None:
    def expected(what: str, reply: Told) -> bool:
        return reply[0] == 404 or (reply[0] == 422 and what not in {"as it is", "with its ETag", "with another ETag"})

    assert await faults(user.client, theirs, VARIANTS, expected, place) == []


@each_place
async def test_nor_does_who_may_nothing_or_is_not_signed_in_learn_anything(
    sign_in: SignIn, anonymous: httpx.AsyncClient, theirs: dict[str, str], place: str
) -> None:
    nobody = await sign_in()
    plain = {"as it is": VARIANTS["as it is"]}
    assert await faults(nobody.client, theirs, plain, lambda _, reply: reply[0] in {403, 404}, place) == []
    signs: dict[str, dict[str, Any]] = {"without a token": {}, "wrong": {"headers": {"Authorization": "bearer wrong"}}}
    assert await faults(anonymous, theirs, signs, lambda _, reply: reply[0] == 401, place) == []


async def test_without_the_restriction_an_etag_would_tell(
    user: Person, theirs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    anyones = select(*Item.__table__.c).where(Item.id == bindparam("row_id"))
    monkeypatch.setattr(ITEMS, "lock", Statement(anyones))
    found = await faults(user.client, theirs, {"stale": VARIANTS["with another ETag"]}, lambda *_: True, "items")
    assert any("PATCH /api/v1/items/{item_id} by item_id, stale: (412" in fault for fault in found)


@each_kept
async def test_a_stranger_waits_for_no_lock(
    user: Person, theirs: dict[str, str], resources: Resources, kept: Kept
) -> None:
    id_ = theirs[kept.parameter]
    async with staged(resources.database) as session:
        await session.execute(text(f"SELECT FROM {kept.table} WHERE id = :id FOR UPDATE"), {"id": id_})
        for method in ("PUT", "PATCH", "DELETE"):
            asking = told(user.client, method, kept.one, kept.parameter, id_, {})
            assert (await asyncio.wait_for(asking, 5))[0] == 404


ADMINISTRATIVE: list[Callable[[Person, str], Awaitable[httpx.Response]]] = [
    lambda person, id_: person.client.delete(f"/api/v1/users/{id_}"),
    lambda person, id_: person.client.put(f"/api/v1/users/{id_}/permissions", json={"permissions": []}),
]


@pytest.mark.parametrize("act", ADMINISTRATIVE)
async def test_to_oneself_who_is_no_administrator_is_told_what_it_needs(
    user: Person, act: Callable[[Person, str], Awaitable[httpx.Response]]
) -> None:
    reply = await act(user, user.id)
    assert (reply.status_code, reply.json()["message"]) == (403, "This needs the permission admin:write.")
