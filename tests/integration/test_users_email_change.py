"""One's own address changes by a link in a mail to the new one, and whatever speaks for the owner ends that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from integration.conftest import PASSWORD, Person, SignIn
from integration.form import enter
from integration.mailing import Post, ask, confirm, post_office
from integration.sql import run_sql
from slipway.auth import accounts
from slipway.jobs.kinds import Job
from slipway.jobs.periodic import Purge
from slipway.resources import Resources
from slipway.sessions.service import new_reset_link
from slipway.users import email_changes, queries
from slipway.worker import EXPIRIES

NEW = "new@example.com"


@pytest.fixture
async def post(resources: Resources) -> AsyncIterator[Post]:
    async with post_office(resources) as office:
        yield office


async def me(person: Person) -> dict[str, object]:
    reply = await person.client.get("/api/v1/users/me")
    assert reply.status_code == 200
    return reply.json()  # type: ignore[no-any-return]


async def linked(person: Person, post: Post, email: str = NEW) -> str:
    """The token of the link that was mailed to the address."""
    assert (await ask(person, email)).status_code == 202
    return next(mail.token for mail in await post.sent() if mail.to == email)


async def test_a_new_address_is_asked_for_confirmed_by_mail_and_the_old_one_is_told(
    user: Person, anonymous: httpx.AsyncClient, post: Post
) -> None:
    asked = await ask(user, NEW)
    assert (asked.status_code, asked.json()["email"], asked.json()["pending_email"]) == (202, user.email, NEW)
    assert (await me(user))["pending_email"] == NEW
    to_new, to_old = sorted(await post.sent(), key=lambda mail: mail.to != NEW)
    assert (to_new.to, to_new.subject) == (NEW, "Confirm your new address")
    assert (to_old.to, to_old.subject) == (user.email, "A new address for your account")
    assert NEW not in to_old.text
    assert to_new.token not in to_old.text
    assert (await enter(anonymous, NEW)).status_code == 401
    assert (await confirm(anonymous, to_new.token)).status_code == 204
    now = await me(user)
    assert (now["email"], now["pending_email"]) == (NEW, None)
    assert [(mail.to, mail.subject) for mail in await post.sent()] == [(user.email, "Your address was changed")]
    assert (await enter(anonymous, NEW)).status_code == 200
    assert (await enter(anonymous, user.email)).status_code == 401


async def test_the_token_is_in_the_mail_and_nowhere_else(user: Person, post: Post, resources: Resources) -> None:
    await ask(user, NEW)
    queued = str(await run_sql(resources, "SELECT jobs::text FROM jobs"))
    [link] = [mail for mail in await post.sent() if mail.to == NEW]
    stored = str(await run_sql(resources, "SELECT email_changes::text FROM email_changes"))
    assert link.token not in queued + stored
    assert link.token.encode().hex() not in stored


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_with_other_members_those_are_applied_at_once(user: Person, method: str) -> None:
    body = {"email": NEW, "display_name": "Ada", "current_password": PASSWORD}
    body |= {"is_active": True} if method == "PUT" else {}
    reply = await user.client.request(method, f"/api/v1/users/{user.id}", json=body)
    shown = reply.json()
    assert (reply.status_code, shown["display_name"]) == (200, "Ada")
    assert (shown["email"], shown["pending_email"]) == (user.email, NEW)
    assert (await me(user)) == shown


async def test_administrators_see_what_is_pending_in_every_list_and_page(user: Person, admin: Person) -> None:
    await ask(user, NEW)
    page = await admin.client.get(f"/api/v1/users/{user.id}")
    listed = (await admin.client.get("/api/v1/users")).json()["items"]
    assert page.json()["pending_email"] == NEW
    assert {entry["id"]: entry["pending_email"] for entry in listed} == {admin.id: None, user.id: NEW}


async def test_a_link_works_once_and_a_made_up_one_never(
    user: Person, anonymous: httpx.AsyncClient, post: Post
) -> None:
    token = await linked(user, post)
    replies = await asyncio.gather(*(confirm(anonymous, token) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [204, 422, 422, 422]
    made_up = await confirm(anonymous, "made-up")
    assert (made_up.status_code, made_up.json()["details"][0]["location"]) == (422, "body.token")


async def test_without_its_end_in_the_same_statement_a_link_would_work_again(
    user: Person, anonymous: httpx.AsyncClient, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def used(*_: object) -> str:
        return NEW

    async def stays(*_: object) -> None:
        return

    token = await linked(user, post)
    monkeypatch.setattr(queries, "use_email_change", used)
    monkeypatch.setattr(accounts, "end_email_change", stays)
    assert [(await confirm(anonymous, token)).status_code for _ in range(2)] == [204, 204]


async def test_a_later_wish_takes_the_place_of_an_earlier_one(
    user: Person, anonymous: httpx.AsyncClient, post: Post
) -> None:
    first, second = await linked(user, post, "first@example.com"), await linked(user, post)
    assert (await confirm(anonymous, first)).status_code == 422
    assert (await confirm(anonymous, second)).status_code == 204
    assert (await me(user))["email"] == NEW


async def test_a_mail_that_was_tried_twice_has_two_links_of_which_either_works(
    user: Person, anonymous: httpx.AsyncClient, post: Post
) -> None:
    await ask(user, NEW)
    arguments = (post.resources.database, post.resources.settings, queries.UUID(user.id), NEW)
    links = [await email_changes.new_link(*arguments) for _ in range(2)]
    tokens = [made.link for made in links if isinstance(made, email_changes.MailedLink)]
    assert len(set(tokens)) == 2
    assert [(await confirm(anonymous, token)).status_code for token in tokens] == [204, 422]


async def withdrawn(person: Person, _: Person, __: Resources) -> None:
    reply = await person.client.patch(f"/api/v1/users/{person.id}", json={"email": person.email})
    assert (reply.status_code, reply.json()["pending_email"]) == (200, None)


async def password_changed(person: Person, _: Person, __: Resources) -> None:
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    assert (await person.client.post("/api/v1/auth/password", json=body)).status_code == 204


async def password_reset(person: Person, _: Person, resources: Resources) -> None:
    made = await new_reset_link(resources.database, resources.settings, person.email)
    assert made is not None
    token = made.link.partition("token=")[2].partition("#")[0]
    body = {"token": token, "new_password": "another good password"}
    assert (await person.client.post("/api/v1/auth/password-reset/confirm", json=body)).status_code == 204


async def changed_by_an_administrator(person: Person, admin: Person, _: Resources) -> None:
    path = f"/api/v1/users/{person.id}"
    assert (await admin.client.patch(path, json={"email": "right@example.com"})).status_code == 200


async def withdrawn_by_an_administrator(person: Person, admin: Person, _: Resources) -> None:
    reply = await admin.client.patch(f"/api/v1/users/{person.id}", json={"email": person.email})
    assert (reply.status_code, reply.json()["pending_email"]) == (200, None)


async def switched_off_and_on(person: Person, admin: Person, _: Resources) -> None:
    for active in (False, True):
        reply = await admin.client.patch(f"/api/v1/users/{person.id}", json={"is_active": active})
        assert (reply.status_code, reply.json()["pending_email"]) == (200, None)


async def switched_off(person: Person, _: Person, resources: Resources) -> None:
    await run_sql(resources, "UPDATE users SET is_active = false WHERE id = :id", id=person.id)


async def changed_by_an_earlier_release(person: Person, _: Person, resources: Resources) -> None:
    await run_sql(resources, "UPDATE users SET email = 'right@example.com' WHERE id = :id", id=person.id)


async def run_out(_: Person, __: Person, resources: Resources) -> None:
    await run_sql(resources, "UPDATE email_changes SET expires_at = now()")


async def deleted(person: Person, admin: Person, _: Resources) -> None:
    assert (await admin.client.delete(f"/api/v1/users/{person.id}")).status_code == 204


ENDINGS: list[Callable[[Person, Person, Resources], Awaitable[None]]] = [
    withdrawn,
    password_changed,
    password_reset,
    changed_by_an_administrator,
    withdrawn_by_an_administrator,
    switched_off_and_on,
    switched_off,
    changed_by_an_earlier_release,
    run_out,
    deleted,
]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_link_is_dead_after_whatever_speaks_for_the_account_s_owner(
    user: Person,
    admin: Person,
    anonymous: httpx.AsyncClient,
    post: Post,
    resources: Resources,
    ending: Callable[[Person, Person, Resources], Awaitable[None]],
) -> None:
    token = await linked(user, post)
    await ending(user, admin, resources)
    reply = await confirm(anonymous, token)
    assert (reply.status_code, reply.json()["details"][0]["location"]) == (422, "body.token")
    assert await run_sql(resources, "SELECT id FROM users WHERE email = :email", email=NEW) == []
    # Nor is one mailed any more, by a job that waited.
    if ending is not deleted:
        again = await email_changes.new_link(resources.database, resources.settings, queries.UUID(user.id), NEW)
        assert again is None


async def test_naming_the_present_address_in_a_whole_document_ends_no_wish(user: Person) -> None:
    await ask(user, NEW)
    body = {"email": user.email, "display_name": "Ada", "is_active": True}
    reply = await user.client.put(f"/api/v1/users/{user.id}", json=body)
    assert (reply.status_code, reply.json()["pending_email"]) == (200, NEW)


async def test_reset_links_of_the_old_address_are_dead_once_the_new_one_is_confirmed_and_sessions_go_on(
    user: Person, anonymous: httpx.AsyncClient, post: Post, resources: Resources
) -> None:
    token = await linked(user, post)
    reset = await new_reset_link(resources.database, resources.settings, user.email)
    assert reset is not None
    assert (await confirm(anonymous, token)).status_code == 204
    body = {
        "token": reset.link.partition("token=")[2].partition("#")[0],
        "new_password": "a password of the former owner",
    }
    assert (await anonymous.post("/api/v1/auth/password-reset/confirm", json=body)).status_code == 422
    assert await new_reset_link(resources.database, resources.settings, user.email) is None
    assert (await me(user))["email"] == NEW


async def test_of_two_who_confirm_one_address_at_once_one_gets_it(
    sign_in: SignIn, anonymous: httpx.AsyncClient, post: Post, resources: Resources
) -> None:
    people = [await sign_in() for _ in range(2)]
    tokens = [await linked(person, post) for person in people]
    replies = await asyncio.gather(*(confirm(anonymous, token) for token in tokens))
    assert sorted(reply.status_code for reply in replies) == [204, 422]
    assert len(await run_sql(resources, "SELECT id FROM users WHERE email = :email", email=NEW)) == 1


async def test_what_is_pending_is_part_of_the_etag(user: Person, resources: Resources) -> None:
    path = f"/api/v1/users/{user.id}"
    before = (await user.client.get(path)).headers["ETag"]
    asked = await ask(user, NEW)
    pending = asked.headers["ETag"]
    assert pending != before
    mine = await user.client.get("/api/v1/users/me")
    assert (mine.headers["ETag"], mine.json()) == (pending, asked.json())
    stale = await user.client.patch(path, json={"display_name": "x"}, headers={"If-Match": before})
    assert stale.status_code == 412
    await run_sql(resources, "UPDATE email_changes SET expires_at = now()")
    over = await user.client.get(path)
    assert (over.headers["ETag"], over.json()["pending_email"]) == (before, None)
    assert (await user.client.patch(path, json={"display_name": "x"}, headers={"If-Match": before})).status_code == 200


async def test_what_ran_out_is_purged(user: Person, resources: Resources) -> None:
    await ask(user, NEW)
    purge = Purge(resources.settings, resources.database, EXPIRIES)
    job = Job(1, "purge_expired", {}, {}, 1, uuid4(), datetime.now(UTC))
    await purge.run(job)
    assert await run_sql(resources, "SELECT count(*) FROM email_changes") == [(1,)]
    await run_sql(resources, "UPDATE email_changes SET expires_at = now() - interval '1 second'")
    await purge.run(job)
    assert await run_sql(resources, "SELECT count(*) FROM email_changes") == [(0,)]


async def test_a_mail_to_a_domain_with_letters_of_its_own_is_addressed_as_dns_takes_it(
    user: Person, anonymous: httpx.AsyncClient, post: Post
) -> None:
    assert (await ask(user, "ada@xn--bcher-kva.example")).json()["pending_email"] == "ada@b\u00fccher.example"
    [link] = [mail for mail in await post.sent() if mail.to == "ada@xn--bcher-kva.example"]
    assert (await confirm(anonymous, link.token)).status_code == 204
    assert (await me(user))["email"] == "ada@b\u00fccher.example"
