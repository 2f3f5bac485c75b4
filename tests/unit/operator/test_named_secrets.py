"""Watches of single Secrets, from a server that speaks the protocol over HTTP on this machine."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import kopf
import pytest

from slipway_operator import credentials, named_secrets
from slipway_operator.cluster import Api, ApiError, ForbiddenError, Resource, UnreachableError
from slipway_operator.named_secrets import FIRST_PAUSE, LONGEST_PAUSE, NamedSecrets
from slipway_operator.worklist import Key
from unit.operator.watch_server import DATA, PATIENCE, TOKEN, Opened, WatchServer, event, secret, served, status

RING = Key("KeyRing", "ships", "ring")
LOGIN = Key("DatabaseLogin", "ships", "login")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Following:
    """`NamedSecrets` of which the test holds the server's end and sees whom it wakes."""

    def __init__(self, server: WatchServer, secrets: NamedSecrets) -> None:
        self.server = server
        self.secrets = secrets
        self.woken: asyncio.Queue[Key] = asyncio.Queue()
        secrets.start(self.woken.put_nowait)

    async def wakes(self) -> Key:
        return await asyncio.wait_for(self.woken.get(), PATIENCE)

    async def opened(self, key: Key) -> Opened:
        """The next watch, once it has woken `key` as each does that opens."""
        opened = await self.server.opened()
        assert await self.wakes() == key
        return opened

    async def follow(self, key: Key, name: str) -> Opened:
        self.secrets.follow(key, name)
        return await self.opened(key)

    async def sleeps(self, *opened: Opened) -> None:
        """Whatever these watches say wakes nothing: another, which says so after them, is the first to."""
        for one in opened:
            one.say(secret("MODIFIED"))
        last = Key("KeyRing", "ships", "last")
        (await self.follow(last, "last")).say(secret("MODIFIED"))
        assert await self.wakes() == last
        assert self.woken.empty()


def watches() -> set[str]:
    names = (task.get_name() for task in asyncio.all_tasks() if not task.done())
    return {name.removeprefix("secret ") for name in names if name.startswith("secret ")}


@pytest.fixture
async def following(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Following]:
    monkeypatch.setattr(named_secrets, "FIRST_PAUSE", 0.01)
    async with served() as server, Api(server.login) as api:
        secrets = NamedSecrets(api)
        yield Following(server, secrets)
        await secrets.stop()
    assert not watches()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = (record for record in caplog.records if record.name == named_secrets.__name__)
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("change", ["ADDED", "MODIFIED", "DELETED"])
async def test_a_change_of_a_followed_secret_wakes_its_resource(following: Following, change: str) -> None:
    opened = await following.follow(RING, "ring")
    assert opened.name == "ring"
    opened.say(secret(change))
    assert await following.wakes() == RING


async def test_only_the_resource_whose_secret_changed_is_woken(following: Following) -> None:
    await following.follow(RING, "ring")
    login = await following.follow(LOGIN, "login")
    login.say(secret("MODIFIED"))
    assert await following.wakes() == LOGIN
    assert following.woken.empty()


async def test_a_forgotten_secret_wakes_nothing_more_and_its_watch_ends(following: Following) -> None:
    opened = await following.follow(RING, "ring")
    following.secrets.forget(RING)
    await opened.until_ended()
    assert watches() == set()
    await following.sleeps(opened)


async def test_a_secret_that_nobody_followed_is_forgotten_without_a_fuss(following: Following) -> None:
    following.secrets.forget(RING)
    assert watches() == set()


async def test_two_resources_may_follow_the_same_secret(following: Following) -> None:
    first, second = await following.follow(RING, "shared"), await following.follow(LOGIN, "shared")
    first.say(secret("MODIFIED"))
    second.say(secret("MODIFIED"))
    assert {await following.wakes(), await following.wakes()} == {RING, LOGIN}
    following.secrets.forget(RING)
    await first.until_ended()
    second.say(secret("DELETED"))
    assert await following.wakes() == LOGIN


async def test_a_changed_name_of_the_secret_moves_the_watch(following: Following) -> None:
    before = await following.follow(RING, "before")
    after = await following.follow(RING, "after")
    await before.until_ended()
    assert after.name == "after"
    assert watches() == {"after"}
    after.say(secret("MODIFIED"))
    assert await following.wakes() == RING
    await following.sleeps(before)


async def test_a_secret_that_is_followed_at_each_look_is_watched_once(following: Following) -> None:
    await following.follow(RING, "ring")
    for _ in range(3):
        following.secrets.follow(RING, "ring")
    await following.follow(LOGIN, "login")
    assert following.server.asked == 2


@pytest.mark.parametrize("broken", ["closed", "cut", "half", "expired"])
async def test_a_stream_that_breaks_is_taken_up_again_and_wakes_for_what_was_missed(
    following: Following, broken: str
) -> None:
    opened = await following.follow(RING, "ring")
    if broken == "half":
        opened.say(secret("MODIFIED")[:-10])
    if broken == "expired":
        opened.say(event("ERROR", status(410, "Expired")))
    if broken in {"cut", "half"}:
        opened.cut()
    opened.close()
    again = await following.opened(RING)
    again.say(secret("MODIFIED"))
    assert await following.wakes() == RING


async def test_a_refused_watch_is_told_once_and_works_as_soon_as_it_is_allowed(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    following.server.refusal = status(403, "Forbidden")
    following.secrets.follow(RING, "ring")
    await following.server.until_refused(times=4)
    assert following.woken.empty()
    following.server.refusal = None
    opened = await following.opened(RING)
    assert warnings(caplog) == ["Changes of Secret ring are seen late, because its watch has ended: Forbidden it is"]
    opened.say(secret("MODIFIED"))
    assert await following.wakes() == RING


async def test_a_watch_that_fails_as_soon_as_it_is_open_is_told_once(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await following.follow(RING, "ring")
    for _ in range(3):
        opened.say(event("ERROR", status(400, "BadRequest")))
        opened = await following.opened(RING)
    assert len(warnings(caplog)) == 1


async def test_a_server_that_is_away_for_a_moment_is_no_warning(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    following.server.refusal = status(503, "ServiceUnavailable")
    following.secrets.follow(RING, "ring")
    await following.server.until_refused(times=2)
    following.server.refusal = None
    await following.opened(RING)
    assert warnings(caplog) == []


@pytest.mark.parametrize("loss", [kopf.LoginError("no account"), FileNotFoundError(2, "gone"), KeyError(TOKEN)])
async def test_credentials_that_are_lost_for_a_moment_end_no_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loss: Exception
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(credentials, "LIFETIME", 0.0)
    monkeypatch.setattr(named_secrets, "FIRST_PAUSE", 0.01)
    lost: asyncio.Queue[None] = asyncio.Queue()
    present = True

    async with served() as server:

        def login() -> kopf.ConnectionInfo:
            if present:
                return server.login()
            lost.put_nowait(None)
            raise loss

        async with Api(login) as api:
            following = Following(server, NamedSecrets(api))
            opened = await following.follow(RING, "ring")
            present = False
            opened.close()
            for _ in range(2):
                await asyncio.wait_for(lost.get(), PATIENCE)
            present = True
            (await following.opened(RING)).say(secret("MODIFIED"))
            assert await following.wakes() == RING
            await following.secrets.stop()
    assert TOKEN not in caplog.text


async def test_nothing_that_the_server_sends_is_in_the_logs(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    opened = await following.follow(RING, "ring")
    opened.say(secret("MODIFIED"))
    assert await following.wakes() == RING
    for line in (b'{"data": "' + DATA.encode() + b'"\n', b'["' + DATA.encode() + b'"]\n', DATA.encode() * 50_000):
        opened.say(line)
        opened = await following.opened(RING)
    opened.say(secret("MODIFIED")[:-2])
    opened.cut()
    await following.opened(RING)
    told = [record.getMessage() for record in caplog.records if record.name == named_secrets.__name__]
    assert len(told) == 4
    assert DATA not in caplog.text
    assert TOKEN not in caplog.text


async def test_beyond_the_limit_it_is_told_once_and_a_place_that_becomes_free_is_used(
    following: Following, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following.secrets, "_limit", 1)
    await following.follow(RING, "ring")
    for _ in range(3):
        following.secrets.follow(LOGIN, "login")
    assert watches() == {"ring"}
    assert warnings(caplog) == ["1 Secrets are watched: changes of others, as of login, are seen late."]
    following.secrets.forget(RING)
    assert (await following.follow(LOGIN, "login")).name == "login"


async def test_after_the_stop_and_before_the_start_nothing_is_watched(following: Following) -> None:
    opened = await following.follow(RING, "ring")
    await following.secrets.stop()
    await opened.until_ended()
    following.secrets.follow(RING, "ring")
    assert watches() == set()
    assert following.server.asked == 1


class Failing(Api):
    """Notes when it is asked, and fails after `lasting` seconds: no server does so on time that jumps."""

    def __init__(self, failure: Exception | None, *, opens: bool = False, lasting: float = 0.0) -> None:
        self.asked: list[float] = []
        self._failure = failure
        self._opens = opens
        self._lasting = lasting

    async def changes(self, resource: Resource, namespace: str, name: str, *, seconds: int) -> AsyncIterator[None]:
        del resource, namespace, name, seconds
        clock = asyncio.get_running_loop().time
        self.asked.append(clock())
        if self._opens:
            yield
        await asyncio.sleep(self._lasting)
        self.asked[-1] = clock()
        if self._failure is not None:
            raise self._failure


def pauses(api: Failing, in_no_time: Run, *, jitter: int = 1, within: float = 600.0) -> list[float]:
    """Seconds from the end of each watch to the end of the next that follows at once, in the first `within`."""

    async def story() -> None:
        secrets = NamedSecrets(api, jitter=random.Random(jitter))  # noqa: S311 - it only spreads load
        secrets.start(lambda _: None)
        secrets.follow(RING, "ring")
        await asyncio.sleep(within)
        assert watches() == {"ring"}
        await secrets.stop()

    in_no_time(story())
    return [after - before for before, after in zip(api.asked, api.asked[1:], strict=False)]


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        ForbiddenError(403, "Forbidden", "no"),
        UnreachableError(0, "Unreachable", "away"),
        ApiError(410, "Expired", "old"),
        kopf.LoginError("no account"),
        RuntimeError("a mistake of ours"),
        None,
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_watch_that_ends_soon_is_tried_less_and_less_often_up_to_a_bound(
    in_no_time: Run, failure: Exception | None, *, opens: bool
) -> None:
    found = pauses(Failing(failure, opens=opens), in_no_time)
    expected = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(len(found))]
    assert len(found) > 15
    assert all(0.75 * mean <= pause <= 1.25 * mean for pause, mean in zip(found, expected, strict=True))


def test_the_pauses_of_two_watches_differ(in_no_time: Run) -> None:
    failure = ForbiddenError(403, "Forbidden", "no")
    one, other = (pauses(Failing(failure), in_no_time, jitter=seed) for seed in (1, 2))
    assert all(mine != its for mine, its in zip(one, other, strict=False))


def test_a_watch_that_has_lasted_is_opened_again_without_delay(in_no_time: Run) -> None:
    lasting = LONGEST_PAUSE + 1
    found = pauses(Failing(UnreachableError(0, "Unreachable", "away"), opens=True, lasting=lasting), in_no_time)
    assert len(found) > 15
    assert all(pause - lasting <= 1.25 * FIRST_PAUSE for pause in found)


def test_a_mistake_of_ours_is_told_once_by_its_kind_alone(in_no_time: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pauses(Failing(RuntimeError(DATA)), in_no_time)
    assert warnings(caplog) == ["Changes of Secret ring are seen late, because its watch has ended: RuntimeError"]
    assert DATA not in caplog.text


def test_a_refusal_after_a_watch_that_has_lasted_is_told_anew(
    in_no_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    lasting = LONGEST_PAUSE + 1
    pauses(Failing(ForbiddenError(403, "Forbidden", "no"), opens=True, lasting=lasting), in_no_time, within=3 * lasting)
    assert len(warnings(caplog)) == 2
