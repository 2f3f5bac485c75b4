"""Signing in, and the back-off that parallel guessing can't get past."""

from __future__ import annotations

import asyncio
import unicodedata

import httpx
import pytest

from integration.conftest import Person, SignIn
from integration.form import enter
from integration.sql import run_sql
from servers.jobs import TRY
from servers.staging import staged
from slipway.auth.models import User
from slipway.auth.passwords import Verdict
from slipway.http.problems import RateLimitedError, UnavailableError
from slipway.resources import Resources
from slipway.sessions import attempts, service
from slipway.sessions.throttle import LoginThrottle
from slipway.storage.unit import Transaction


@pytest.fixture
def checked(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were really compared."""
    seen: list[str] = []
    verify = resources.passwords.verify

    async def counted(password: str, stored: str | None) -> Verdict:
        seen.append(password)
        return await verify(password, stored)

    monkeypatch.setattr(resources.passwords, "verify", counted)
    return seen


async def test_a_sign_in_gives_tokens_that_work_and_must_not_be_stored(
    anonymous: httpx.AsyncClient, user: Person
) -> None:
    reply = await enter(anonymous, user.email.upper())
    body = reply.json()
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 900, "items:read items:write")
    headers = {"Authorization": f"bearer {body['access_token']}"}
    assert (await anonymous.get("/api/v1/users/me", headers=headers)).json()["id"] == user.id


async def test_wrong_password_unknown_address_and_switched_off_account_are_one_reply(
    anonymous: httpx.AsyncClient, user: Person, sign_in: SignIn, resources: Resources, checked: list[str]
) -> None:
    off = await sign_in()
    await run_sql(resources, "UPDATE users SET is_active = false WHERE id = :id", id=off.id)
    checked.clear()
    replies = [
        await enter(anonymous, user.email, "wrong"),
        await enter(anonymous, "nobody@example.com", "wrong"),
        await enter(anonymous, off.email),
    ]
    assert len({(reply.status_code, reply.json()["error"], reply.json()["message"]) for reply in replies}) == 1
    assert replies[0].status_code == 401
    assert replies[0].json()["error"] == "invalid_credentials"
    assert replies[0].headers["www-authenticate"].startswith("Bearer")
    assert len(checked) == 3


async def test_a_senseless_form_is_refused_without_repeating_it(anonymous: httpx.AsyncClient) -> None:
    forms: list[dict[str, str]] = [
        {},
        {"username": "ada@example.com"},
        {"username": "ada\x00@example.com", "password": "x"},
        {"username": "a" * 255, "password": "x"},
        {"username": "ada@example.com", "password": "x" * 513},
    ]
    for form in forms:
        reply = await anonymous.post("/api/v1/auth/token", data=form)
        assert reply.status_code == 422, form
        assert "x" * 513 not in reply.text


GUESSES = 100
FREE = 5


async def guess_at_once(client: httpx.AsyncClient, email: str) -> list[httpx.Response]:
    return await asyncio.gather(*(enter(client, email, f"guess {number}") for number in range(GUESSES)))


async def test_a_hundred_guesses_at_once_do_not_get_past_the_back_off(
    anonymous: httpx.AsyncClient, user: Person, checked: list[str], resources: Resources
) -> None:
    replies = await guess_at_once(anonymous, user.email)
    refused = [reply for reply in replies if reply.status_code != 401]
    # While they queue for connections a second or two may pass, and each lets one more through.
    assert FREE <= len(checked) <= FREE + 3
    assert len(refused) >= GUESSES - len(checked)
    assert {reply.status_code for reply in refused} <= {429, 503}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    # However long the guesses took, the time that they cost isn't over.
    await run_sql(resources, "UPDATE login_attempts SET blocked_until = clock_timestamp() + interval '1 minute'")
    assert (await enter(anonymous, user.email)).status_code == 429, "the right password waits like any other"


async def test_a_count_that_reads_before_it_writes_lets_guesses_through(
    anonymous: httpx.AsyncClient, user: Person, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_then_count(transaction: Transaction, key_hash: bytes, free: int, longest: int) -> int | None:
        if await attempts.blocked_for(transaction, key_hash):
            return None
        await asyncio.sleep(0.05)
        return await count(transaction, key_hash, free, longest) or 1

    count = attempts.count_attempt
    monkeypatch.setattr(attempts, "count_attempt", look_then_count)
    await guess_at_once(anonymous, user.email)
    assert len(checked) > FREE + 3


async def test_unknown_addresses_are_throttled_like_known_ones(anonymous: httpx.AsyncClient) -> None:
    statuses = [(await enter(anonymous, "nobody@example.com", "wrong")).status_code for _ in range(FREE + 1)]
    assert statuses == [401] * FREE + [429]


async def test_an_account_has_one_counter_however_its_address_is_written(
    anonymous: httpx.AsyncClient, user: Person
) -> None:
    spellings = [user.email, user.email.upper(), user.email.title(), f" {user.email}", user.email, user.email.upper()]
    statuses = [(await enter(anonymous, spelling, "wrong")).status_code for spelling in spellings]
    assert statuses == [401] * FREE + [429]


async def test_a_success_clears_the_account_and_gives_the_address_its_guess_back(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    for _ in range(2):
        for _ in range(FREE - 1):
            assert (await enter(anonymous, user.email, "wrong")).status_code == 401
        assert (await enter(anonymous, user.email)).status_code == 200
    left = await run_sql(resources, "SELECT failures FROM login_attempts")
    assert left == [(2 * (FREE - 1),)], "the address's failures"


async def attempt(throttle: LoginThrottle, account: str = "ada", address: str = "192.0.2.7") -> float | None:
    """The wait that a guess is told, or None when it may be checked."""
    try:
        await throttle.reserve(account, address)
    except RateLimitedError as refused:
        return float(refused.headers["Retry-After"])
    return None


async def test_the_wait_doubles_from_a_second_up_to_the_longest_and_is_forgotten_after_a_day(
    resources: Resources,
) -> None:
    throttle = LoginThrottle(resources.settings.with_changes(login_backoff_max=10), resources.database)
    for _ in range(FREE - 1):
        assert await attempt(throttle) is None
    waits = []
    for _ in range(6):
        assert await attempt(throttle) is None
        waits.append(await attempt(throttle))
        await run_sql(resources, "UPDATE login_attempts SET blocked_until = clock_timestamp()")
    assert waits == [1, 2, 4, 8, 10, 10]
    await run_sql(resources, "UPDATE login_attempts SET updated_at = now() - interval '25 hours'")
    assert [await attempt(throttle) for _ in range(FREE)] == [None] * FREE
    assert await attempt(throttle) is not None


async def test_an_address_that_tries_many_accounts_is_blocked_and_others_are_not(resources: Resources) -> None:
    throttle = LoginThrottle(resources.settings.with_changes(login_address_attempts=3), resources.database)
    assert [await attempt(throttle, f"user {number}") for number in range(3)] == [None] * 3
    assert await attempt(throttle, "user 4") is not None
    assert await attempt(throttle, "user 4", "192.0.2.8") is None
    counted = await run_sql(resources, "SELECT count(*) FROM login_attempts")
    assert counted == [(6,)], "the refused guess was counted for nobody"


async def test_a_success_at_the_limit_lets_the_address_go_on(resources: Resources) -> None:
    throttle = LoginThrottle(resources.settings.with_changes(login_address_attempts=2), resources.database)
    first = await throttle.reserve("ada", "192.0.2.9")
    second = await throttle.reserve("bob", "192.0.2.9")
    await resources.database.unit(TRY, lambda transaction: throttle.succeed(transaction, second))
    assert (first.address.failures, second.address.failures) == (1, 2)
    assert await attempt(throttle, "eve", "192.0.2.9") is None


async def test_counters_hold_neither_addresses_nor_names(anonymous: httpx.AsyncClient, resources: Resources) -> None:
    await enter(anonymous, "my-secret-password", "wrong")
    rows = await run_sql(resources, "SELECT login_attempts::text FROM login_attempts")
    assert len(rows) == 2
    assert "my-secret" not in str(rows)
    assert b"my-secret".hex() not in str(rows)


async def test_a_guess_that_was_never_checked_is_not_counted(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> Verdict:
        raise UnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(resources.passwords, "verify", full)
        for _ in range(2 * FREE):
            assert (await enter(anonymous, user.email)).status_code == 503
    assert (await enter(anonymous, user.email)).status_code == 200


SPELLINGS = [
    ("\u0130da@example.com", "ida@example.com"),
    ("i\u0307da@example.com", "\u0130da@example.com"),
    ("ren\u00e9@example.com", "rene\u0301@example.com"),
    ("REN\u00c9@example.com", "rene\u0301@example.com"),
    ("info@b\u00fccher.example", "INFO@xn--bcher-kva.example"),
    (
        "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2@example.com",
        "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3@example.com",
    ),
]


async def attempts_on(client: httpx.AsyncClient, spellings: tuple[str, str]) -> list[tuple[int, str]]:
    replies = [await enter(client, spelling, "wrong") for spelling in spellings * (FREE // 2 + 2)]
    return [(reply.status_code, reply.json()["error"]) for reply in replies]


async def make_user(resources: Resources, email: str) -> None:
    async with staged(resources.database) as session:
        session.add(User(email=unicodedata.normalize("NFC", email), password_hash="no hash"))


@pytest.mark.parametrize("spellings", SPELLINGS)
async def test_spellings_of_an_address_get_the_same_replies_whether_there_is_an_account_or_not(
    anonymous: httpx.AsyncClient, resources: Resources, spellings: tuple[str, str]
) -> None:
    unknown = await attempts_on(anonymous, spellings)
    await run_sql(resources, "DELETE FROM login_attempts")
    await make_user(resources, spellings[0])
    assert await attempts_on(anonymous, spellings) == unknown


async def test_counting_unknown_addresses_by_other_rules_than_the_look_up_would_tell_accounts_apart(
    anonymous: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "address_key", str.lower)
    composed = "ren\u00e9@example.com"
    spellings = (composed, unicodedata.normalize("NFD", composed))
    unknown = await attempts_on(anonymous, spellings)
    await run_sql(resources, "DELETE FROM login_attempts")
    await make_user(resources, composed)
    assert await attempts_on(anonymous, spellings) != unknown
