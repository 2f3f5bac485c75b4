"""Passwords: right, wrong, unknown; the rules; the queue's limit; the threads' priority."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import argon2
import pytest

from servers.waiting import until
from slipway.auth.passwords import NICENESS, PasswordHasher
from slipway.http.problems import UnavailableError, ValidationError
from slipway.settings import MIB, Settings

SETTINGS = Settings(password_memory=8 * MIB, password_iterations=1)
PASSWORD = "correct horse battery"


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    opened = PasswordHasher(SETTINGS)
    yield opened
    opened.close()


async def test_the_right_password_is_accepted_and_a_wrong_one_refused(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert await hasher.verify(PASSWORD, stored) == (True, False)
    assert await hasher.verify(PASSWORD + "!", stored) == (False, False)
    assert await hasher.verify("", stored) == (False, False)
    assert await hasher.verify(PASSWORD, "no hash at all") == (False, False)


async def test_an_unknown_user_costs_a_hash_of_todays_parameters_and_is_refused(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = argon2.PasswordHasher.verify

    def seen(self: argon2.PasswordHasher, hash: str, password: bytes) -> bool:  # noqa: A002 - the library's name
        checked.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", seen)
    assert await hasher.verify(PASSWORD, None) == (False, False)
    parameters = argon2.extract_parameters(checked[0])
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (8192, 1, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_a_hash_of_other_parameters_is_right_but_wants_rehashing(hasher: PasswordHasher) -> None:
    stronger = PasswordHasher(SETTINGS.with_changes(password_iterations=2))
    old = await hasher.hash(PASSWORD)
    assert await stronger.verify(PASSWORD, old) == (True, True)
    assert await stronger.verify(PASSWORD, await stronger.rehash(PASSWORD)) == (True, False)
    stronger.close()


async def test_a_password_is_the_same_however_its_letters_are_composed(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("ang\u0301stro\u0308m-pass")
    assert (await hasher.verify("an\u01f5ström-pass", stored)).ok


@pytest.mark.parametrize("password", ["", "short", "e\u0301" * 11, "x" * 129])
async def test_a_password_that_breaks_the_rules_is_refused_without_being_repeated(
    hasher: PasswordHasher, password: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        await hasher.hash(password, location="body.new_password")
    assert [fault.location for fault in caught.value.details] == ["body.new_password"]
    assert "12 to 128" in caught.value.details[0].message


@pytest.mark.parametrize(
    "password", ["x" * 12, "x" * 128, "\U0001f600" * 12, "e\u0301" * 128, "nul \x00 and \ud800 too"]
)
async def test_a_password_within_the_rules_is_accepted(hasher: PasswordHasher, password: str) -> None:
    assert (await hasher.verify(password, await hasher.hash(password))).ok


@contextmanager
def releasing(hasher: PasswordHasher) -> Iterator[threading.Event]:
    """What threads wait for: set at the end, whatever happened, or they would keep the whole run from ending."""
    release = threading.Event()
    try:
        yield release
    finally:
        release.set()
        hasher.close()


async def test_what_would_wait_too_long_is_turned_away_and_the_rest_goes_on() -> None:
    hasher = PasswordHasher(SETTINGS.with_changes(password_workers=1, password_queue=2))
    with releasing(hasher) as release:
        held = [asyncio.create_task(hasher.run(release.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(hasher.verify(PASSWORD, None), 5)
        release.set()
        assert await asyncio.gather(*held) == [True, True, True]
        await until(lambda: hasher.waiting == 0)
        assert await hasher.verify(PASSWORD, None) == (False, False)


async def test_a_caller_that_goes_away_gives_its_place_in_the_queue_back() -> None:
    hasher = PasswordHasher(SETTINGS.with_changes(password_workers=1, password_queue=1))
    with releasing(hasher) as release:
        running = asyncio.create_task(hasher.run(release.wait))
        queued = asyncio.create_task(hasher.verify(PASSWORD, None))
        await until(lambda: hasher.waiting == 2)
        queued.cancel()
        await until(lambda: hasher.waiting == 1)
        release.set()
        assert await running


async def test_hashing_has_a_lower_priority_than_the_event_loop(hasher: PasswordHasher) -> None:
    thread = await hasher.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert thread == max(NICENESS, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
