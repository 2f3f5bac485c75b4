"""Only administrators learn by a change of address who else has an account; and nobody is flooded by its mails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import event

from integration.conftest import PASSWORD, Person, SignIn
from integration.form import enter
from integration.mailing import Post, ask, confirm, post_office
from integration.sql import run_sql
from slipway.mail.job import JOBS
from slipway.resources import Resources
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction
from slipway.users import email_changes, queries, service
from slipway.users.queries import Known

FREE = "free@example.com"
LIMIT = 5
IDS = {"x-request-id", "ratelimit", "etag", "date"}


@pytest.fixture
async def post(resources: Resources) -> AsyncIterator[Post]:
    async with post_office(resources) as office:
        yield office


@contextmanager
def statements(resources: Resources) -> Iterator[list[str]]:
    """The SQL that is sent meanwhile, without its values."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    arguments = Statement.arguments

    def noted(statement: Statement, values: Mapping[str, object]) -> list[object]:
        seen.append(statement.text)
        return arguments(statement, values)

    engine = resources.database.connections.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Statement, "arguments", noted)
        yield seen
    event.remove(engine, "before_cursor_execute", note)
    assert any(statement.startswith("UPDATE") or "INSERT" in statement for statement in seen)


def shown(reply: httpx.Response, email: str) -> tuple[int, list[tuple[str, str]], str]:
    """All that an asker sees, but for what names the request and the address itself."""
    headers = sorted((name, value) for name, value in reply.headers.items() if name not in IDS)
    return reply.status_code, headers, reply.text.replace(email, "…")


OTHERS: list[tuple[str, dict[str, object]]] = [
    ("PATCH", {}),
    ("PATCH", {"display_name": "Ada"}),
    ("PUT", {"display_name": "Ada", "is_active": True}),
]


@pytest.mark.parametrize(("method", "others"), OTHERS)
@pytest.mark.parametrize("of_whom", ["active", "switched off"])
async def test_asking_for_an_address_that_is_taken_is_like_asking_for_a_free_one(
    user: Person, sign_in: SignIn, resources: Resources, method: str, others: dict[str, object], of_whom: str
) -> None:
    await user.client.patch(f"/api/v1/users/{user.id}", json={"display_name": "Ada"})
    taken = (await sign_in()).email
    free = "f" * len(taken.partition("@")[0]) + "@example.com"
    await run_sql(
        resources, "UPDATE users SET is_active = :active WHERE email = :email", active=of_whom == "active", email=taken
    )
    seen = []
    # Once for each beforehand: the first of all makes counters, and what is asked a second time finds them.
    for email in (free, taken, free, taken):
        body = {"email": email, "current_password": PASSWORD, **others}
        with statements(resources) as sent:
            reply = await user.client.request(method, f"/api/v1/users/{user.id}", json=body)
        page = await user.client.get(f"/api/v1/users/{user.id}")
        versionless = [(name, value) for name, value in page.headers.items() if name not in IDS]
        text = page.text.replace(email, "…").replace(page.json()["updated_at"], "then")
        status, headers, answer = shown(reply, email)
        answer = answer.replace(reply.json()["updated_at"], "then")
        seen.append((status, headers, answer, sent, versionless, text, len(reply.headers["ETag"])))
    assert seen[0][3] == seen[1][3]
    assert seen[2] == seen[3]
    assert seen[2][0] == (200 if others else 202)


async def test_writing_the_address_at_once_would_tell_that_it_is_taken(
    user: Person, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: as the first release did."""

    async def write(transaction: Transaction, _: Resources, asker: Known, email: str) -> Known:
        with service._address_taken():  # noqa: SLF001 - what the former way met
            return await queries.change(transaction, asker, email=email)

    monkeypatch.setattr(email_changes, "ask", write)
    assert (await ask(user, (await sign_in()).email)).status_code == 409
    assert (await ask(user, FREE)).status_code == 202


async def test_the_owner_of_a_taken_address_is_told_and_nobody_gets_a_link(
    user: Person, sign_in: SignIn, post: Post
) -> None:
    owner = await sign_in()
    await ask(user, owner.email.upper())
    mails = {mail.to: mail for mail in await post.sent()}
    assert mails.keys() == {user.email, owner.email}
    assert mails[owner.email].subject == "Your address was asked for"
    assert "token" not in mails[owner.email].text
    assert user.email not in mails[owner.email].text


async def test_the_owner_of_a_switched_off_account_gets_no_mail(
    user: Person, sign_in: SignIn, post: Post, resources: Resources
) -> None:
    owner = await sign_in()
    await run_sql(resources, "UPDATE users SET is_active = false WHERE id = :id", id=owner.id)
    await ask(user, owner.email)
    assert [mail.to for mail in await post.sent()] == [user.email]


async def test_an_address_that_was_taken_meanwhile_is_refused_like_a_link_that_never_was(
    user: Person, admin: Person, anonymous: httpx.AsyncClient, post: Post, resources: Resources
) -> None:
    await ask(user, FREE)
    [link] = [mail for mail in await post.sent() if mail.to == FREE]
    made = await admin.client.post("/api/v1/users", json={"email": FREE.upper(), "password": PASSWORD})
    assert made.status_code == 201
    refused, unknown = await confirm(anonymous, link.token), await confirm(anonymous, "never-was")
    told = [{**reply.json(), "request_id": ""} for reply in (refused, unknown)]
    assert told[0] == told[1]
    assert refused.status_code == unknown.status_code == 422
    assert await run_sql(resources, "SELECT email FROM users WHERE id = :id", id=user.id) == [(user.email,)]


async def test_administrators_who_change_others_are_told_that_an_address_is_taken(
    user: Person, admin: Person, sign_in: SignIn
) -> None:
    taken = (await sign_in()).email
    reply = await admin.client.patch(f"/api/v1/users/{user.id}", json={"email": taken.upper()})
    assert (reply.status_code, reply.json()["error"]) == (409, "conflict")
    assert (await ask(admin, taken)).status_code == 202, "their own is asked for like anybody's"


async def test_one_user_asks_only_so_often_and_is_told_how_long_to_wait(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    replies = [await ask(user, f"n{number}@example.com") for number in range(LIMIT + 1)]
    assert [reply.status_code for reply in replies] == [202] * LIMIT + [429]
    assert int(replies[-1].headers["Retry-After"]) >= 1
    pending = await run_sql(resources, "SELECT email FROM email_changes")
    assert pending == [(f"n{LIMIT - 1}@example.com",)], "the refused one took nothing's place"
    assert (await enter(anonymous, user.email)).status_code == 200, "signing in is counted apart"


async def test_one_address_gets_only_so_many_mails_whoever_asks_and_no_asker_notices(
    sign_in: SignIn, post: Post, resources: Resources
) -> None:
    askers = [await sign_in() for _ in range(LIMIT + 2)]
    spellings = [FREE.upper(), FREE]
    replies = [await ask(asker, spellings[number % 2]) for number, asker in enumerate(askers)]
    assert {reply.status_code for reply in replies} == {202}
    assert {reply.json()["pending_email"].lower() for reply in replies} == {FREE}
    assert len([mail for mail in await post.sent() if mail.to.lower() == FREE]) == LIMIT
    assert await run_sql(resources, "SELECT count(*) FROM email_changes") == [(LIMIT + 2,)]


async def test_a_wish_that_is_refused_counts_for_nothing_and_sends_nothing(user: Person, resources: Resources) -> None:
    body = {"email": FREE, "current_password": PASSWORD}
    path, stale = f"/api/v1/users/{user.id}", {"If-Match": '"77"'}
    for _ in range(LIMIT + 1):
        assert (await user.client.patch(path, json=body, headers=stale)).status_code == 412
    assert await run_sql(resources, "SELECT count(*) FROM jobs") == [(0,)]
    assert await run_sql(resources, "SELECT count(*) FROM email_changes") == [(0,)]
    assert (await ask(user, FREE)).status_code == 202


async def test_its_mails_are_no_jobs_that_workers_of_an_earlier_release_take(
    user: Person, resources: Resources
) -> None:
    await ask(user, FREE)
    assert await run_sql(resources, "SELECT DISTINCT name FROM jobs") == [("send_address_mail",)]
    assert JOBS == ("send_mail", "send_address_mail")
