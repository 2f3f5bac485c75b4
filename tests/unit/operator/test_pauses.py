"""How often those look that look for ever: what they ask for, and when, in time that passes by itself."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
from kopf._cogs.structs.references import Insights

from slipway_operator import credentials, definitions, listening, namespaces
from slipway_operator.cluster import Api, ForbiddenError, Resource, UnreachableError
from slipway_operator.credentials import Credentials, NoCredentialsError
from slipway_operator.evidence.nudging import Nudges, nudge
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.worklist import Key

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Drawn = Callable[[float, float], float]
KEY = Key("KeyRing", "ships", "ring")


def even(drawn: Drawn) -> random.Random:
    return cast("random.Random", SimpleNamespace(uniform=drawn))


class Watched(Api):
    """Each watch lasts for as long as `lasts`; `asked`: when each began, and for how many seconds."""

    def __init__(self, lasts: float = 0.0) -> None:
        self.lasts = lasts
        self.asked: list[tuple[float, int]] = []

    async def changes(self, resource: Resource, namespace: str, name: str, *, seconds: int) -> AsyncIterator[None]:
        del resource, namespace, name
        self.asked.append((asyncio.get_running_loop().time(), seconds))
        yield
        await asyncio.sleep(self.lasts)


def watched(api: Watched, in_no_time: Run, drawn: Drawn, within: float = 200.0) -> list[float]:
    """Seconds from one watch to the next."""

    async def story() -> None:
        secrets = NamedSecrets(api, jitter=even(drawn))
        secrets.start(lambda _: None)
        secrets.follow(KEY, "ring")
        await asyncio.sleep(within)
        await secrets.stop()

    in_no_time(story())
    return [round(later - earlier, 3) for (earlier, _), (later, _) in itertools.pairwise(api.asked)]


@pytest.mark.parametrize(("drawn", "factor", "seconds"), [(min, 0.75, 450), (max, 1.25, 600)])
def test_watches_of_secrets_last_ten_minutes_and_follow_each_other_after_half_a_second_to_thirty(
    in_no_time: Run, drawn: Drawn, factor: float, seconds: int
) -> None:
    api = Watched()
    pauses = watched(api, in_no_time, drawn)
    assert [pause / factor for pause in pauses[:8]] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert {asked for _, asked in api.asked} == {seconds}


@pytest.mark.parametrize(("lasts", "next_pause"), [(30.0, 0.625), (29.75, 1.25)])
def test_a_watch_that_lasted_thirty_seconds_begins_its_pauses_anew(
    in_no_time: Run, lasts: float, next_pause: float
) -> None:
    pauses = watched(Watched(lasts), in_no_time, max)
    assert pauses[1] - lasts == next_pause


async def test_two_thousand_secrets_are_watched_and_one_more_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    secrets = NamedSecrets(Watched(3600.0))
    secrets.start(lambda _: None)
    for number in range(2001):
        secrets.follow(Key("KeyRing", "ships", str(number)), f"ring-{number}")
    names = {task.get_name() for task in asyncio.all_tasks()}
    await secrets.stop()
    assert len([name for name in names if name.startswith("secret ")]) == 2000
    (record,) = caplog.records
    assert record.getMessage().startswith("2000 Secrets are watched: changes of others, as of ring-2000,")


@pytest.mark.parametrize(("drawn", "pause"), [(min, 7.2), (max, 8.0)])
def test_namespaces_are_asked_for_every_eight_seconds_at_the_latest(
    in_no_time: Run, monkeypatch: pytest.MonkeyPatch, drawn: Drawn, pause: float
) -> None:
    monkeypatch.setattr(random, "uniform", drawn)
    at: list[float] = []

    async def get(*_: Any) -> None:
        at.append(asyncio.get_running_loop().time())

    async def story() -> None:
        keeping = asyncio.create_task(namespaces.keep(cast("Api", SimpleNamespace(get=get)), ["mill"], Insights()))
        await asyncio.sleep(30)
        keeping.cancel()

    in_no_time(story())
    assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(at)} == {pause}


class Defined:
    """A cluster whose definitions lack something, or aren't there at all."""

    def __init__(self, found: dict[str, Any] | None) -> None:
        self.found = found
        self.definitions: Any = {}
        self.at: list[float] = []

    async def document(self, _: str) -> dict[str, Any] | None:
        self.at.append(asyncio.get_running_loop().time())
        return self.found


@pytest.mark.parametrize(("drawn", "factor"), [(min, 0.8), (max, 1.2)])
def test_definitions_are_looked_for_every_five_seconds_and_for_newer_ones_every_thirty(
    in_no_time: Run, monkeypatch: pytest.MonkeyPatch, drawn: Drawn, factor: float
) -> None:
    monkeypatch.setattr(random, "uniform", drawn)

    async def looks(work: Callable[[Any], Coroutine[Any, Any, None]], api: Defined) -> set[float]:
        task = asyncio.create_task(work(api))
        await asyncio.sleep(75)
        task.cancel()
        return {round((later - earlier) / factor, 3) for earlier, later in itertools.pairwise(api.at)}

    assert in_no_time(looks(definitions.until_served, Defined(None))) == {5.0}
    old = Defined({})
    old.definitions = {kind: {} for kind in definitions.NEEDED}
    assert in_no_time(looks(definitions.until_whole, old)) == {30.0}


def test_credentials_are_read_anew_when_they_are_older_than_a_minute_or_were_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, read = [1000.0], 0

    def login() -> kopf.ConnectionInfo:
        nonlocal read
        read += 1
        return kopf.ConnectionInfo(server="https://api", token=str(read))

    monkeypatch.setattr(credentials, "time", SimpleNamespace(monotonic=lambda: now[0]))
    held = Credentials(login)
    found = []
    for pause in (0.0, 60.0, 0.25, 60.0):
        now[0] += pause
        found.append(held.fresh().token)
    held.drop()
    assert [*found, held.fresh().token] == ["1", "1", "2", "2", "3"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (kopf.LoginError("There is none."), "There is none."),
        (ValueError("a-secret"), "ValueError"),
        (OSError("x"), "OSError"),
    ],
)
def test_why_there_are_no_credentials_is_told_without_what_a_file_held(error: Exception, said: str) -> None:
    def login() -> kopf.ConnectionInfo:
        raise error

    with pytest.raises(NoCredentialsError) as raised:
        Credentials(login).fresh()
    assert str(raised.value) == f"No credentials for the cluster: {said}"


def test_where_there_is_neither_account_nor_kubeconfig_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("login_with_service_account", "login_with_kubeconfig"):
        monkeypatch.setattr(kopf, name, lambda *, settings: settings and None)
    with pytest.raises(kopf.LoginError, match="neither a service account nor a kubeconfig"):
        credentials.login()


class Nudged:
    """Counts how many pods are nudged at a time."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.now = self.most = 0
        self.refusal = refusal

    async def patch_status(self, *_: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1)
        self.now -= 1
        if self.refusal is not None:
            raise self.refusal


def test_thirty_two_pods_are_nudged_at_a_time(in_no_time: Run) -> None:
    cluster = Nudged()
    in_no_time(nudge(cast("Api", cluster), "ships", [str(n) for n in range(100)], "1"))
    assert cluster.most == 32


def test_that_nudges_are_refused_is_told_once_and_anew_when_they_were_allowed_meanwhile(
    in_no_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Nudged()
    nudges = Nudges(cast("Api", cluster))

    async def story() -> None:
        for refusal in (
            ForbiddenError(403, "Forbidden", "no right"),
            None,
            ForbiddenError(403, "Forbidden", "no right"),
        ):
            cluster.refusal = refusal
            await nudges.at_once(KEY, ["a"], 1.0)
            await nudges.at_once(KEY, ["a"], 2.0)
        nudges.forget(KEY)
        await nudges.at_once(KEY, ["a"], 3.0)
        cluster.refusal = UnreachableError(0, "Unreachable", "away")
        await nudges.at_once(Key("KeyRing", "ships", "other"), ["a"], 3.0)

    with caplog.at_level(logging.WARNING):
        in_no_time(story())
    said = "Pods load new Secrets at the kubelet's own pace, up to two minutes: no right"
    assert [record.getMessage() for record in caplog.records] == [said] * 3


def test_a_port_for_both_families_is_chosen_twenty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def taken(*_: Any) -> list[Any]:
        nonlocal tries
        tries += 1
        raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(listening, "_bound", taken)
    with pytest.raises(OSError, match="in use"):
        listening.listen("*", 0)
    assert tries == 20
    with pytest.raises(OSError, match="in use"):
        listening.listen("*", 9090)  # one that was named is tried once
    assert tries == 21
