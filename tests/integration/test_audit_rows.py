"""What is in the audit log after what people do: who, from where, in which request; and nothing that they wrote."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from integration.conftest import PASSWORD, Person
from integration.form import enter
from integration.sql import run_sql
from slipway.context.request import Origin, RequestContext, current
from slipway.resources import Resources
from slipway.storage.audit import Action, Entry, address_of

ITEM = {"title": "Paint the hull", "body": "Two coats."}


async def told(resources: Resources, request_id: str) -> list[tuple[str, str | None, UUID | None, UUID | None, str]]:
    """Action, resource, actor, session and address of a request's rows, in the order in which they were begun."""
    rows = await run_sql(
        resources,
        "SELECT action, resource, actor, session, host(address) FROM audit WHERE request_id = :id ORDER BY attempt",
        id=request_id,
    )
    return [tuple(row) for row in rows]


async def test_each_write_of_an_item_is_told_with_who_and_from_where(user: Person, resources: Resources) -> None:
    [session] = (await user.client.get("/api/v1/auth/sessions")).json()["items"]
    who = UUID(user.id), UUID(session["id"]), "127.0.0.1"
    made = await user.client.post("/api/v1/items", json=ITEM, headers={"X-Request-ID": "made"})
    path, item = made.headers["location"], made.json()["id"]
    await user.client.patch(path, json={"body": "Red."}, headers={"X-Request-ID": "changed"})
    await user.client.put(path, json=ITEM, headers={"X-Request-ID": "replaced"})
    await user.client.delete(path, headers={"X-Request-ID": "deleted"})
    for request_id, verb in (("made", "create"), ("changed", "change"), ("replaced", "change"), ("deleted", "delete")):
        assert await told(resources, request_id) == [(f"items.{verb}", f"items/{item}", *who)]


async def test_a_repeat_with_the_same_key_and_what_is_refused_are_not_told(user: Person, resources: Resources) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    for request_id in ("first", "repeat"):
        await user.client.post("/api/v1/items", json=ITEM, headers={**key, "X-Request-ID": request_id})
    await user.client.delete(f"/api/v1/items/{uuid4()}", headers={"X-Request-ID": "unknown"})
    await user.client.post("/api/v1/items", json={"title": ""}, headers={"X-Request-ID": "invalid"})
    assert [len(await told(resources, id_)) for id_ in ("first", "repeat", "unknown", "invalid")] == [1, 0, 0, 0]


async def test_what_changes_nothing_is_not_told_whatever_is_asked(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    """A flood of made-up tokens must not fill the table."""
    tokens = (await enter(anonymous, user.email)).json()
    before = len(await run_sql(resources, "SELECT attempt FROM audit"))
    for _ in range(2):
        refused = await anonymous.post("/api/v1/auth/refresh", json={"refresh_token": "a" * 43})
        unknown = await anonymous.post("/api/v1/auth/revoke", data={"token": "a" * 43})
        assert (refused.status_code, unknown.status_code) == (401, 200)
    assert len(await run_sql(resources, "SELECT attempt FROM audit")) == before
    for token in (tokens["refresh_token"], tokens["access_token"]):
        revoked = await anonymous.post("/api/v1/auth/revoke", data={"token": token})
        assert revoked.status_code == 200
    ended = await run_sql(resources, "SELECT resource FROM audit WHERE action = 'sessions.revoke'")
    assert len(ended) == 1, "it is ended once"


async def sign_in(client: httpx.AsyncClient, email: str, password: str, request_id: str) -> int:
    form = {"username": email, "password": password}
    return (await client.post("/api/v1/auth/token", data=form, headers={"X-Request-ID": request_id})).status_code


async def test_sign_ins_are_told_accepted_and_refused_and_never_what_was_typed(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    assert await sign_in(anonymous, user.email, PASSWORD, "accepted") == 200
    assert await sign_in(anonymous, user.email, "wrong-only-here", "refused") == 401
    assert await sign_in(anonymous, "nobody-only-here@example.com", PASSWORD, "unknown") == 401
    accepted = await told(resources, "accepted")
    assert [row[0] for row in accepted] == ["sessions.guess", "sessions.prove", "sessions.sign_in"]
    assert accepted[-1][1:3] == (f"sessions/{accepted[-1][3]}", UUID(user.id))
    for request_id, actor in (("refused", UUID(user.id)), ("unknown", None)):
        rows = await told(resources, request_id)
        assert [row[0] for row in rows] == ["sessions.guess", "sessions.refuse"]
        assert rows[-1] == ("sessions.refuse", None, actor, None, "127.0.0.1")
    everything = str(await run_sql(resources, "SELECT audit::text FROM audit"))
    for secret in ("only-here", PASSWORD, user.email):
        assert secret not in everything


class _Request(RequestContext):
    __slots__ = ("_peer",)

    def __init__(self, request_id: str, peer: str | None) -> None:
        super().__init__(request_id)
        self._peer = peer

    @property
    def origin(self) -> Origin:
        return Origin(UUID(int=1), UUID(int=2), self._peer)


@pytest.mark.parametrize(
    "request_id", ["'); DROP TABLE audit; --", "\\x41", "$$", "a\nb", "ünï ☃", "%s {0} :x", "", "x" * 200]
)
@pytest.mark.parametrize(
    "peer", [None, "2001:db8::1%eth0'; --", "'; DROP TABLE audit; --", "/run/a.sock", "::ffff:192.0.2.1"]
)
async def test_nothing_of_it_is_taken_for_sql_whatever_a_client_calls_itself(
    resources: Resources, request_id: str, peer: str | None
) -> None:
    token = current.set(_Request(request_id, peer))
    try:
        await resources.database.unit(Action("tests", "try"), lambda transaction: transaction.begin())
        text = Entry.of(Action("tests", "try")).insert()
    finally:
        current.reset(token)
    [row] = await run_sql(resources, "SELECT request_id, host(address) AS address, actor, session FROM audit")
    assert row.request_id == request_id[:128]
    assert row.address == (None if peer is None or address_of(peer) is None else str(address_of(peer)))
    assert (row.actor, row.session) == (UUID(int=1), UUID(int=2))
    assert not request_id.strip() or request_id not in text


HOSTILE = "'); DELETE FROM items; --"


async def test_what_a_client_says_of_itself_is_in_no_row(user: Person, resources: Resources) -> None:
    names = ("X-Request-ID", "User-Agent", "X-Forwarded-For", "X-Real-IP", "Forwarded")
    hostile = dict.fromkeys(names, HOSTILE)
    key = {"Idempotency-Key": "'||now()||'"}
    made = await user.client.post("/api/v1/items", json=ITEM, headers={**hostile, **key})
    assert made.status_code == 201
    path, request_id = made.headers["location"], made.headers["x-request-id"]
    changed = await user.client.patch(path, json={"body": HOSTILE}, headers=hostile)
    assert changed.status_code == 200
    assert [row[0] for row in await told(resources, request_id)] == ["items.create"]
    assert "DELETE" not in str(await run_sql(resources, "SELECT audit::text FROM audit"))


@pytest.mark.parametrize("field", ["attempt", "actor", "session", "address", "resource"])
def test_nothing_that_was_not_parsed_becomes_a_part_of_sql(field: str) -> None:
    entry = Entry.of(Action("tests", "try"))
    setattr(entry, field, HOSTILE)
    with pytest.raises((TypeError, ValueError)):
        entry.insert()


@pytest.mark.parametrize(("noun", "verb"), [("items", "x'"), ("Items", "create"), ("", "create"), ("a" * 40, "b")])
def test_an_action_is_two_words_of_ours(noun: str, verb: str) -> None:
    with pytest.raises(ValueError, match="two words"):
        Action(noun, verb)
