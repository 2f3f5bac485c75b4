"""What owners keep, over HTTP: every resource that has owner and version behaves alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, Response
from sqlalchemy import text

from integration.conftest import Person
from integration.domains.kept import DOCUMENT, KEPT, Kept, body_of, each_kept
from servers.databases import TestDatabase, superuser_sql
from servers.migration_images import value
from servers.staging import staged
from slipway.http.idempotency import Key, OneCreate
from slipway.items.schemas import ItemContent
from slipway.items.service import ITEMS
from slipway.resources import Resources
from slipway.storage.unit import Transaction


async def make(person: Person, kept: Kept, *, body: dict[str, Any] | None = None, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return await person.client.post(kept.at, json=body or kept.body, headers=headers)


async def total(person: Person, kept: Kept) -> int:
    return int((await person.client.get(kept.at)).json()["total"])


def test_items_are_among_what_is_found() -> None:
    [items] = [kept for kept in KEPT if kept.at == ITEMS.at]
    assert (items.parameter, items.texts, items.defaults, items.searched) == (
        "item_id", ("title", "body"), {"body": ""}, True,
    )  # fmt: skip


@each_kept
async def test_one_is_made_read_replaced_changed_and_deleted(user: Person, kept: Kept) -> None:
    made = await make(user, kept)
    assert made.status_code == 201
    assert made.json()["owner_id"] == user.id
    path = made.headers["Location"]
    read = await user.client.get(path)
    assert (read.json(), read.headers["ETag"]) == (made.json(), made.headers["ETag"])
    required = {name: given for name, given in kept.saying("Hull").items() if name in kept.required}
    replaced = await user.client.put(path, json=required, headers={"If-Match": made.headers["ETag"]})
    assert replaced.headers["ETag"] == '"2"'
    assert {name: replaced.json()[name] for name in kept.defaults} == kept.defaults
    assert replaced.json()[kept.texts[0]] == "Hull"
    last = kept.texts[-1]
    patched = await user.client.patch(path, json={last: "Red."})
    assert patched.json() == replaced.json() | {last: "Red.", "updated_at": patched.json()["updated_at"]}
    assert patched.json()["updated_at"] > made.json()["updated_at"]
    assert (await user.client.get(path)).json() == patched.json()
    assert (await user.client.delete(path, headers={"If-Match": patched.headers["ETag"]})).status_code == 204
    assert (await user.client.get(path)).status_code == 404


@each_kept
async def test_those_of_others_do_not_exist_but_for_administrators(user: Person, admin: Person, kept: Kept) -> None:
    theirs = (await make(admin, kept)).headers["Location"]
    mine = (await make(user, kept)).headers["Location"]
    for method, body in (("GET", None), ("PUT", kept.body), ("PATCH", kept.body), ("DELETE", None)):
        assert (await user.client.request(method, theirs, json=body)).status_code == 404
    assert (await admin.client.get(mine)).status_code == 200
    assert (await user.client.get(kept.at, params={"owner_id": admin.id})).status_code == 404
    assert (await admin.client.get(kept.at, params={"owner_id": user.id})).json()["total"] == 1


FOUND = [("hull", 1), ("HULL", 1), ('"paint the"', 1), ("keel", 0), ("hull -coats", 0), ("'); --", 0), ("&|!:*", 0)]


@pytest.mark.parametrize("kept", [kept for kept in KEPT if kept.searched], ids=lambda kept: kept.table)
async def test_words_are_found_whatever_is_typed(user: Person, kept: Kept) -> None:
    await make(user, kept, body=kept.saying("Paint the hull: two coats"))
    for query, found in FOUND:
        reply = await user.client.get(kept.at, params={"q": query})
        assert (query, reply.status_code, reply.json()["total"]) == (query, 200, found)


@pytest.mark.parametrize("kept", [kept for kept in KEPT if kept.searched], ids=lambda kept: kept.table)
async def test_what_is_searched_and_what_is_listed_have_indexes(database: TestDatabase, kept: Kept) -> None:
    found = await value(
        database.url_app, "SELECT string_agg(indexdef, ' ') FROM pg_indexes WHERE tablename = $1", kept.table
    )
    assert " USING gin (" in found
    assert " USING btree (owner_id, id)" in found


@each_kept
async def test_a_stale_etag_is_refused_and_changes_nothing(user: Person, kept: Kept) -> None:
    path = (await make(user, kept)).headers["Location"]
    await user.client.patch(path, json={kept.texts[-1]: "first"})
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else kept.saying("lost update")
        reply = await user.client.request(method, path, json=body, headers={"If-Match": '"1"'})
        assert (reply.status_code, reply.json()["error"]) == (412, "precondition_failed")
    assert (await user.client.get(path)).json()[kept.texts[-1]] == "first"


@each_kept
async def test_each_write_leaves_its_row_of_the_audit_log(user: Person, database: TestDatabase, kept: Kept) -> None:
    path = (await make(user, kept)).headers["Location"]
    await user.client.patch(path, json={kept.texts[-1]: "changed"})
    await user.client.delete(path)
    resource = f"{kept.table}/{path.rpartition('/')[2]}"
    told = await value(
        database.url_app, "SELECT array_agg(action || ' ' || resource ORDER BY attempt) FROM audit WHERE actor = $1"
        " AND resource LIKE $2", UUID(user.id), f"{kept.table}/%",
    )  # fmt: skip
    assert told == [f"{kept.table}.{verb} {resource}" for verb in ("create", "change", "delete")]


@each_kept
async def test_fifty_posts_with_one_key_make_one_and_fifty_equal_replies(user: Person, kept: Kept) -> None:
    key = str(uuid4())
    replies = await asyncio.gather(*(make(user, kept, key=key) for _ in range(50)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert len({(reply.headers["Location"], reply.headers["ETag"]) for reply in replies}) == 1
    assert sum("Idempotency-Replayed" in reply.headers for reply in replies) == 49
    assert await total(user, kept) == 1


@each_kept
async def test_without_the_claim_each_repeat_makes_one(
    user: Person, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the guard switched off."""

    async def unclaimed(_: Key, transaction: Transaction, create: OneCreate, __: Response, **values: object) -> None:
        await transaction.conclude(create.plain, **values)

    monkeypatch.setattr(Key, "conclude", unclaimed)
    key = str(uuid4())
    await asyncio.gather(*(make(user, kept, key=key) for _ in range(5)))
    assert await total(user, kept) == 5


@each_kept
async def test_a_key_used_for_another_request_is_refused(user: Person, kept: Kept) -> None:
    key = str(uuid4())
    await make(user, kept, key=key)
    other = await make(user, kept, body=kept.saying("another"), key=key)
    assert (other.status_code, other.json()["details"][0]["location"]) == (422, "header.Idempotency-Key")


@each_kept
async def test_two_users_may_choose_the_same_key(user: Person, admin: Person, kept: Kept) -> None:
    key = str(uuid4())
    assert (await make(user, kept, key=key)).json()["id"] != (await make(admin, kept, key=key)).json()["id"]


@each_kept
async def test_a_failed_request_does_not_use_up_its_key(user: Person, kept: Kept) -> None:
    key = str(uuid4())
    assert (await make(user, kept, body={"nonsense": 1}, key=key)).status_code == 422
    assert (await make(user, kept, key=key)).status_code == 201


@each_kept
async def test_an_expired_key_starts_afresh(user: Person, resources: Resources, kept: Kept) -> None:
    key = str(uuid4())
    first = await make(user, kept, key=key)
    async with staged(resources.database) as session:
        await session.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))
    assert first.json()["id"] != (await make(user, kept, key=key)).json()["id"]


@each_kept
def test_its_bodies_say_no_more_than_it_shows(kept: Kept) -> None:
    shown = DOCUMENT["paths"][kept.one]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    members = set(DOCUMENT["components"]["schemas"][shown["$ref"].rpartition("/")[2]]["properties"])
    for method in ("put", "patch"):
        assert set(body_of(DOCUMENT["paths"][kept.one][method])["properties"]) <= members


async def refuse_at_commit(database: TestDatabase, table: str) -> None:
    """A deferred constraint that is checked, and fails, only at COMMIT."""
    await superuser_sql(
        database.server,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'only at commit'; END$$",
        f"CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        database=database.name,
    )


@each_kept
async def test_a_constraint_that_fails_at_commit_is_a_server_problem_and_never_a_201(
    user: Person, database: TestDatabase, kept: Kept
) -> None:
    await refuse_at_commit(database, kept.table)
    reply = await make(user, kept)
    assert (reply.status_code, reply.json()["error"]) == (500, "internal_error")
    assert "only at commit" not in reply.text
    assert await total(user, kept) == 0


async def test_committed_after_the_reply_the_failure_would_be_a_201(
    resources: Resources, user: Person, database: TestDatabase
) -> None:
    """Negative control: the same unit of work in a dependency that ends after the reply."""
    await refuse_at_commit(database, "items")
    api = FastAPI()
    item = ITEMS.new(UUID(user.id), ItemContent(title="lost"))

    async def late() -> AsyncIterator[None]:
        yield
        reply = Response(status_code=201)
        await resources.database.unit(ITEMS.creation, lambda tx: ITEMS.add(tx, None, item, reply))

    @api.post("/items", status_code=201, dependencies=[Depends(late)])
    async def create() -> dict[str, str]:
        return {"status": "created"}

    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
        assert (await client.post("/items")).status_code == 201
    assert await value(database.url_app, "SELECT count(*) FROM items") == 0
