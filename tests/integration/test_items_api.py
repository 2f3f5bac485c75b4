"""Items over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, Response
from sqlalchemy import text

from integration.conftest import Person
from servers.databases import TestDatabase, superuser_sql
from slipway.http.idempotency import Key, OneCreate
from slipway.items import queries, service
from slipway.items.schemas import ItemContent
from slipway.resources import Resources
from slipway.storage.unit import Transaction

ITEM = {"title": "Paint the hull", "body": "Two coats."}


async def test_an_item_is_created_read_replaced_changed_and_deleted(user: Person) -> None:
    made = await user.client.post("/api/v1/items", json=ITEM)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert (await user.client.get(path)).json() == made.json()
    replaced = await user.client.put(path, json={"title": "Hull"}, headers={"If-Match": made.headers["ETag"]})
    assert (replaced.json()["title"], replaced.json()["body"], replaced.headers["ETag"]) == ("Hull", "", '"2"')
    patched = await user.client.patch(path, json={"body": "Red."})
    assert (patched.json()["title"], patched.json()["body"]) == ("Hull", "Red.")
    assert patched.json()["updated_at"] > made.json()["updated_at"]
    assert (await user.client.delete(path, headers={"If-Match": patched.headers["ETag"]})).status_code == 204
    assert (await user.client.get(path)).status_code == 404


async def test_items_of_others_do_not_exist_but_for_administrators(user: Person, admin: Person) -> None:
    theirs = (await admin.client.post("/api/v1/items", json=ITEM)).headers["Location"]
    mine = (await user.client.post("/api/v1/items", json=ITEM)).headers["Location"]
    for method, body in (("GET", None), ("PUT", ITEM), ("PATCH", ITEM), ("DELETE", None)):
        assert (await user.client.request(method, theirs, json=body)).status_code == 404
    assert (await admin.client.get(mine)).status_code == 200
    assert (await user.client.get("/api/v1/items", params={"owner_id": admin.id})).status_code == 404
    assert (await admin.client.get("/api/v1/items", params={"owner_id": user.id})).json()["total"] == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [("hull", 1), ("HULL", 1), ('"paint the"', 1), ("keel", 0), ("hull -coats", 0), ("'); --", 0), ("&|!:*", 0)],
)
async def test_words_are_found_whatever_is_typed(user: Person, query: str, found: int) -> None:
    await user.client.post("/api/v1/items", json=ITEM)
    reply = await user.client.get("/api/v1/items", params={"q": query})
    assert (reply.status_code, reply.json()["total"]) == (200, found)


async def test_a_stale_etag_is_refused_and_changes_nothing(user: Person) -> None:
    path = (await user.client.post("/api/v1/items", json=ITEM)).headers["Location"]
    await user.client.patch(path, json={"body": "first"})
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else {"title": "lost update"}
        reply = await user.client.request(method, path, json=body, headers={"If-Match": '"1"'})
        assert (reply.status_code, reply.json()["error"]) == (412, "precondition_failed")
    assert (await user.client.get(path)).json()["body"] == "first"


async def test_fifty_posts_with_one_key_make_one_item_and_fifty_equal_replies(user: Person) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    replies = await asyncio.gather(*(user.client.post("/api/v1/items", json=ITEM, headers=headers) for _ in range(50)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert len({(reply.headers["Location"], reply.headers["ETag"]) for reply in replies}) == 1
    assert sum("Idempotency-Replayed" in reply.headers for reply in replies) == 49
    assert (await user.client.get("/api/v1/items")).json()["total"] == 1


async def test_without_the_claim_each_repeat_makes_an_item(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the guard switched off."""

    async def unclaimed(_: Key, transaction: Transaction, create: OneCreate, __: Response, **values: object) -> None:
        await transaction.conclude(create.plain, **values)

    monkeypatch.setattr(Key, "conclude", unclaimed)
    headers = {"Idempotency-Key": str(uuid4())}
    await asyncio.gather(*(user.client.post("/api/v1/items", json=ITEM, headers=headers) for _ in range(5)))
    assert (await user.client.get("/api/v1/items")).json()["total"] == 5


async def test_a_key_used_for_another_request_is_refused(user: Person) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    await user.client.post("/api/v1/items", json=ITEM, headers=headers)
    other = await user.client.post("/api/v1/items", json={"title": "another"}, headers=headers)
    assert (other.status_code, other.json()["details"][0]["location"]) == (422, "header.Idempotency-Key")


async def test_two_users_may_choose_the_same_key(user: Person, admin: Person) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first = await user.client.post("/api/v1/items", json=ITEM, headers=headers)
    second = await admin.client.post("/api/v1/items", json=ITEM, headers=headers)
    assert first.json()["id"] != second.json()["id"]


async def test_a_failed_request_does_not_use_up_its_key(user: Person) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    assert (await user.client.post("/api/v1/items", json={"title": ""}, headers=headers)).status_code == 422
    assert (await user.client.post("/api/v1/items", json=ITEM, headers=headers)).status_code == 201


async def test_an_expired_key_starts_afresh(user: Person, resources: Resources) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first = await user.client.post("/api/v1/items", json=ITEM, headers=headers)
    async with resources.database.transaction() as session:
        await session.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))
    second = await user.client.post("/api/v1/items", json=ITEM, headers=headers)
    assert first.json()["id"] != second.json()["id"]


@pytest.fixture
async def refused_at_commit(database: TestDatabase) -> None:
    """A deferred constraint on items that is checked, and fails, only at COMMIT."""
    await superuser_sql(
        database.server,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'only at commit'; END$$",
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        database=database.name,
    )


@pytest.mark.usefixtures("refused_at_commit")
async def test_a_constraint_that_fails_at_commit_is_a_server_problem_and_never_a_201(user: Person) -> None:
    reply = await user.client.post("/api/v1/items", json=ITEM)
    assert (reply.status_code, reply.json()["error"]) == (500, "internal_error")
    assert "only at commit" not in reply.text
    assert (await user.client.get("/api/v1/items")).json()["total"] == 0


@pytest.mark.usefixtures("refused_at_commit")
async def test_committed_after_the_reply_the_failure_would_be_a_201(resources: Resources, user: Person) -> None:
    """Negative control: the same unit of work in a dependency that ends after the reply."""
    api = FastAPI()
    item = service.new(UUID(user.id), ItemContent(title="lost"))

    async def late() -> AsyncIterator[None]:
        yield
        reply = Response(status_code=201)
        await resources.database.unit(service.CREATE, lambda tx: service.create(tx, None, item, reply))

    @api.post("/items", status_code=201, dependencies=[Depends(late)])
    async def create() -> dict[str, str]:
        return {"status": "created"}

    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
        assert (await client.post("/items")).status_code == 201
    assert await resources.database.read(lambda session: queries.count(session, None, None)) == 0
