"""The audit log as administrators read it: whose, what, which and when; the newest first, each entry once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import func, select

from integration.conftest import Person
from integration.sql import run_sql
from slipway.app import openapi_document
from slipway.audit.filters import Filters
from slipway.resources import Resources
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

AUDIT = "/api/v1/audit"
NOW = Statement(select(func.now().label("now")))
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def listed(person: Person, **query: object) -> list[dict[str, Any]]:
    """One page; `query` may name its size."""
    reply = await person.client.get(AUDIT, params={name: str(value) for name, value in query.items()})
    assert reply.status_code == 200, reply.text
    entries: list[dict[str, Any]] = reply.json()["items"]
    return entries


async def walked(person: Person, **query: str) -> list[str]:
    """The attempts of all pages."""
    met: list[str] = []
    while True:
        page = (await person.client.get(AUDIT, params={**query, "per_page": "2"})).json()
        met += [entry["attempt"] for entry in page["items"]]
        if page["next_cursor"] is None:
            return met
        query["cursor"] = page["next_cursor"]


async def add(resources: Resources, number: int, at: datetime, **columns: object) -> str:
    values = {"actor": None, "action": "tests.try", "resource": None, "request_id": None, **columns}
    await run_sql(
        resources,
        "INSERT INTO audit (attempt, kind, at, actor, action, resource, request_id)"
        " VALUES (:attempt, 'work', :at, :actor, :action, :resource, :request_id)",
        attempt=UUID(int=number),
        at=at,
        **values,
    )
    return str(UUID(int=number))


async def test_a_write_is_shown_with_who_what_where_and_in_which_request(admin: Person, user: Person) -> None:
    [session] = (await user.client.get("/api/v1/auth/sessions")).json()["items"]
    before = datetime.now(UTC)
    reply = await user.client.post("/api/v1/items", json={"title": "Paint"}, headers={"X-Request-ID": "~/a=b+c@d"})
    [entry] = await listed(admin, request_id=reply.headers["X-Request-ID"])
    assert before - timedelta(seconds=5) < datetime.fromisoformat(entry.pop("at")) < datetime.now(UTC)
    assert UUID(entry.pop("attempt"))
    assert entry == {
        "kind": "work",
        "action": "items.create",
        "resource": f"items/{reply.json()['id']}",
        "actor": user.id,
        "session": session["id"],
        "address": "127.0.0.1",
        "request_id": "~/a=b+c@d",
    }


async def test_each_filter_leaves_those_that_fit_and_together_those_that_fit_them_all(
    admin: Person, resources: Resources
) -> None:
    one, other = uuid4(), uuid4()
    await add(resources, 1, NOON, actor=one, resource="boats/1", request_id="r1", action="boats.paint")
    await add(resources, 2, NOON + timedelta(hours=1), actor=one, resource="boats/2", action="boats.sink")
    await add(resources, 3, NOON + timedelta(hours=2), actor=other, resource="boats/1", action="boats.sink")
    hour = {name: (NOON + timedelta(hours=number)).isoformat() for number, name in enumerate(("first", "second"))}
    for query, found in (
        ({"actor": one}, [2, 1]),
        ({"action": "boats.sink"}, [3, 2]),
        ({"resource": "boats/1"}, [3, 1]),
        ({"request_id": "r1"}, [1]),
        ({"since": hour["second"], "action": "boats.sink"}, [3, 2]),
        ({"until": hour["second"], "actor": one}, [1]),
        ({"since": hour["first"], "until": hour["second"]}, [1]),
        ({"actor": one, "action": "boats.sink", "resource": "boats/2", "since": hour["second"]}, [2]),
        ({"actor": other, "action": "boats.paint"}, []),
    ):
        assert [UUID(entry["attempt"]).int for entry in await listed(admin, **query)] == found, query


async def test_entries_of_one_moment_are_met_once_each(admin: Person, resources: Resources) -> None:
    added = [await add(resources, number, NOON) for number in range(1, 6)]
    assert await walked(admin, until="2026-11-02T00:00:00Z") == added[::-1]
    assert await walked(admin, until="2026-11-02T00:00:00Z", action="tests.try") == added[::-1]


async def test_what_is_added_meanwhile_moves_no_page(admin: Person, resources: Resources) -> None:
    added = [await add(resources, number, NOON + timedelta(seconds=number)) for number in range(1, 6)]
    query = {"action": "tests.try", "per_page": 2}
    first = (await admin.client.get(AUDIT, params=query)).json()
    await add(resources, 9, NOON + timedelta(hours=1))
    second = (await admin.client.get(AUDIT, params={**query, "cursor": first["next_cursor"]})).json()
    assert [entry["attempt"] for page in (first, second) for entry in page["items"]] == added[:0:-1]
    assert (await listed(admin, action="tests.try"))[0]["attempt"] == str(UUID(int=9))


async def test_a_page_is_neither_numbered_nor_counted_and_the_last_one_says_so(
    admin: Person, resources: Resources
) -> None:
    for number in (1, 2):
        await add(resources, number, NOON)
    for per_page, is_last in ((1, False), (2, True), (3, True)):
        page = (await admin.client.get(AUDIT, params={"per_page": per_page, "action": "tests.try"})).json()
        assert (page["total"], page["page"], page["per_page"]) == (None, None, per_page)
        assert (page["next_cursor"] is None) == is_last


async def test_an_entry_has_the_time_of_its_commit_not_of_its_beginning(resources: Resources) -> None:
    """Or else it would come in behind what somebody has read already."""

    async def work(transaction: Transaction) -> Any:
        return (await transaction.row(NOW)).now

    begun = await resources.database.unit(Action("tests", "try"), work)
    [entry] = await run_sql(resources, "SELECT at FROM audit WHERE action = 'tests.try'")
    assert entry.at > begun


async def test_only_administrators_read_it(user: Person, anonymous: httpx.AsyncClient) -> None:
    refused = await user.client.get(AUDIT)
    assert (refused.status_code, refused.json()["message"]) == (403, "This needs the permission admin:write.")
    assert (await anonymous.get(AUDIT)).status_code == 401


async def test_what_somebody_did_stays_known_when_they_and_it_are_gone(admin: Person, user: Person) -> None:
    item = (await user.client.post("/api/v1/items", json={"title": "Paint"})).json()["id"]
    assert (await admin.client.delete(f"/api/v1/users/{user.id}")).status_code == 204
    [made] = await listed(admin, actor=user.id, action="items.create")
    assert made["resource"] == f"items/{item}"
    [deleted] = await listed(admin, resource=f"users/{user.id}", action="users.delete")
    assert (deleted["actor"], user.email in str(await listed(admin, per_page=100))) == (admin.id, False)


async def test_head_answers_as_get_does_without_content(admin: Person) -> None:
    head = await admin.client.head(AUDIT)
    assert (head.status_code, head.content) == (200, b"")


REFUSED: list[tuple[dict[str, str], str, str]] = [
    ({"actor": "ada"}, "actor", "UUID"),
    ({"action": "create"}, "action", "as in items.create"),
    ({"action": "items.create'"}, "action", "as in items.create"),
    ({"resource": "items"}, "resource", "a kind of thing and its id"),
    ({"resource": "items/../x"}, "resource", "a kind of thing and its id"),
    ({"request_id": "x" * 129}, "request_id", "128"),
    ({"request_id": "a\0b"}, "request_id", "NUL"),
    ({"since": "yesterday"}, "since", "a time with its zone"),
    ({"since": "2026-11-30T03:00:00"}, "since", "a time with its zone"),
    ({"since": "2026-11-30T03:00:00 01:00"}, "since", "+ is written %2B"),
    ({"since": "1764471600"}, "since", "a time with its zone"),
    ({"until": "2026-02-30T03:00:00Z"}, "until", "a time with its zone"),
    ({"until": "0001-01-01T00:00:00+23:59"}, "until", "a time with its zone"),
    ({"since": "2026-11-30T03:00:00Z", "until": "2026-11-30T03:00:00Z"}, "until", "later than `since`"),
    ({"cursor": "x"}, "cursor", "not a cursor"),
    ({"cursor": "A" * 22}, "cursor", "not a cursor"),
    ({"cursor": "f" * 32}, "cursor", "not a cursor"),
    ({"per_page": "101"}, "per_page", "100"),
]


async def test_what_can_not_be_asked_is_refused_with_what_to_write_instead(admin: Person) -> None:
    for query, location, said in REFUSED:
        reply = await admin.client.get(AUDIT, params=query)
        assert reply.status_code == 422, query
        [fault] = reply.json()["details"]
        assert fault["location"] == f"query.{location}"
        assert said in fault["message"], fault


async def test_a_resource_is_found_however_its_id_is_written(admin: Person, resources: Resources) -> None:
    name = "boats/0198fabc-2c5b-7f20-8d3a-5b1f0c9e7a42"
    attempt = await add(resources, 1, NOON, resource=name)
    assert [entry["attempt"] for entry in await listed(admin, resource=name.upper())] == [attempt]


async def test_what_the_document_gives_as_examples_can_be_asked(admin: Person) -> None:
    operation = openapi_document(Settings())["paths"][AUDIT]["get"]
    query = {each["name"]: each["schema"]["examples"][0] for each in operation["parameters"]}
    assert set(query) == {"per_page", "cursor", *Filters.__dataclass_fields__}
    reply = await admin.client.get(AUDIT, params=query)
    assert (reply.status_code, reply.json()["items"]) == (200, [])
