"""The stream of a watch, from a server that speaks the protocol over HTTP on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import kopf
import pytest

from slipway_operator import cluster, credentials
from slipway_operator.cluster import PODS, SECRETS, Api, ApiError, ForbiddenError, UnreachableError
from slipway_operator.evidence.nudging import NUDGE, nudge
from unit.operator.conftest import ScriptedServer
from unit.operator.watch_server import (
    DATA,
    PATIENCE,
    TOKEN,
    Opened,
    WatchServer,
    bookmark,
    event,
    secret,
    served,
    status,
)


@pytest.fixture
async def watched() -> AsyncIterator[WatchServer]:
    async with served() as server:
        yield server


@pytest.fixture
async def client(watched: WatchServer) -> AsyncIterator[Api]:
    async with Api(watched.login) as opened:
        yield opened


class Watching:
    """A watch by the operator of which the test holds the server's end."""

    def __init__(self, client: Api, opened: Opened, told: AsyncGenerator[None, None]) -> None:
        self.client = client
        self.opened = opened
        self._told = told

    async def tells(self) -> None:
        await asyncio.wait_for(anext(self._told), PATIENCE)

    async def rest(self) -> int:
        """How many more changes it tells until the stream ends."""
        async with asyncio.timeout(PATIENCE):
            return len([None async for _ in self._told])

    async def fails(self) -> ApiError:
        with pytest.raises(ApiError) as raised:
            await self.tells()
        return raised.value


def changes(client: Api, *, seconds: int = 60) -> AsyncGenerator[None, None]:
    return cast("AsyncGenerator[None, None]", client.changes(SECRETS, "ships", "ring", seconds=seconds))


@pytest.fixture
async def watching(watched: WatchServer, client: Api) -> AsyncIterator[Watching]:
    told = changes(client)
    await asyncio.wait_for(anext(told), PATIENCE)
    yield Watching(client, await watched.opened(), told)
    await told.aclose()


async def test_a_watch_asks_for_the_metadata_of_one_object(watching: Watching) -> None:
    assert watching.opened.path == "/api/v1/namespaces/ships/secrets"
    assert watching.opened.query == {
        "watch": "true",
        "resourceVersion": "0",
        "fieldSelector": "metadata.name=ring",
        "timeoutSeconds": "60",
    }
    assert watching.opened.headers["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert watching.opened.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
async def test_each_change_is_told_when_it_comes(watching: Watching, kind: str) -> None:
    watching.opened.say(secret(kind))
    await watching.tells()
    watching.opened.say(secret(kind))
    await watching.tells()


async def test_lines_need_not_come_as_they_were_written(watching: Watching) -> None:
    line = secret("MODIFIED")
    watching.opened.say(line[:20], line[20:], line + line)
    watching.opened.close()
    assert await watching.rest() == 3


async def test_a_bookmark_is_no_change(watching: Watching) -> None:
    watching.opened.say(bookmark(), secret("MODIFIED"))
    watching.opened.close()
    assert await watching.rest() == 1


async def test_a_stream_that_the_server_ends_ends(watching: Watching) -> None:
    watching.opened.close()
    assert await watching.rest() == 0


async def test_a_half_line_at_the_end_is_no_change_and_no_fault(watching: Watching) -> None:
    watching.opened.say(secret("MODIFIED"), secret("MODIFIED")[:-10])
    watching.opened.close()
    assert await watching.rest() == 1


async def test_a_connection_that_breaks_is_told(watching: Watching) -> None:
    watching.opened.say(secret("MODIFIED")[:20])
    watching.opened.cut()
    assert isinstance(await watching.fails(), UnreachableError)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [(410, "Expired", ApiError), (403, "Forbidden", ForbiddenError), (500, "InternalError", ApiError)],
)
async def test_a_watch_that_fails_in_its_stream_fails_with_what_the_server_said(
    watching: Watching, code: int, reason: str, kind: type[ApiError]
) -> None:
    watching.opened.say(event("ERROR", status(code, reason)))
    failed = await watching.fails()
    assert (type(failed), failed.status, failed.reason, str(failed)) == (kind, code, reason, f"{reason} it is")


@pytest.mark.parametrize("shown", [None, "gone", {}, {"code": "410"}])
async def test_a_watch_that_fails_without_a_status_is_a_fault_of_the_server(watching: Watching, shown: Any) -> None:
    watching.opened.say(event("ERROR", shown))
    failed = await watching.fails()
    assert failed.status == 500
    assert not cluster.is_refusal(failed)


async def test_after_an_expired_version_the_next_watch_begins_anew(watching: Watching, watched: WatchServer) -> None:
    watching.opened.say(bookmark(), event("ERROR", status(410, "Expired")))
    assert (await watching.fails()).status == 410
    again = changes(watching.client)
    await asyncio.wait_for(anext(again), PATIENCE)
    assert (await watched.opened()).query["resourceVersion"] == "0"
    await again.aclose()


@pytest.mark.parametrize(
    "line",
    [f'{{"data": "{DATA}"\n'.encode(), f'["{DATA}"]\n'.encode(), b"\xff" + DATA.encode() + b"\n"],
    ids=["broken", "list", "no-text"],
)
async def test_a_line_that_is_no_event_fails_and_is_not_repeated(watching: Watching, line: bytes) -> None:
    watching.opened.say(line)
    failed = await watching.fails()
    assert isinstance(failed, UnreachableError)
    assert DATA not in f"{failed!r} {failed.__cause__!r} {failed.__context__!r}"


async def test_a_line_without_end_is_given_up_and_not_repeated(watching: Watching) -> None:
    watching.opened.say(*[DATA.encode() * 1000] * 100)
    failed = await watching.fails()
    assert isinstance(failed, UnreachableError)
    assert DATA not in f"{failed!r} {failed.__cause__!r}"
    assert failed.__suppress_context__


async def test_a_server_that_never_ends_its_stream_is_left(
    watched: WatchServer, client: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CALL_SECONDS", 0.2)
    told = changes(client, seconds=0)
    await anext(told)
    with pytest.raises(UnreachableError):
        await asyncio.wait_for(anext(told), PATIENCE)
    await (await watched.opened()).until_ended()


async def test_a_watch_that_nobody_reads_any_more_is_closed(watching: Watching) -> None:
    await watching._told.aclose()  # noqa: SLF001 - what the end of its task does
    await watching.opened.until_ended()


async def test_a_refused_watch_is_a_refusal(watched: WatchServer, client: Api) -> None:
    watched.refusal = status(403, "Forbidden")
    with pytest.raises(ForbiddenError, match="Forbidden it is"):
        await anext(changes(client))


async def test_a_watch_whose_token_is_refused_is_opened_with_a_new_one_the_next_time(
    watched: WatchServer, client: Api
) -> None:
    watched.refusal = status(401, "Unauthorized")
    with pytest.raises(ApiError):
        await anext(changes(client))
    watched.refusal, watched.token = None, "second"
    told = changes(client)
    await anext(told)
    assert (await watched.opened()).headers["Authorization"] == "Bearer second"
    await told.aclose()


@pytest.mark.parametrize("loss", [kopf.LoginError("no account"), FileNotFoundError(2, "gone"), ValueError(TOKEN)])
async def test_lost_credentials_are_told_like_a_server_that_is_away_until_they_are_back(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, loss: Exception
) -> None:
    server.answers = [(200, {"n": 1})]
    lost = False

    def login() -> kopf.ConnectionInfo:
        if lost:
            raise loss
        return server.login()

    monkeypatch.setattr(credentials, "LIFETIME", 0.0)
    monkeypatch.setattr(cluster, "LONGEST_PAUSE", 0.01)
    async with Api(login) as api:
        lost = True
        for call in (anext(changes(api)), api.get(SECRETS, "ships", "ring"), api.apply(SECRETS, "ships", _named())):
            with pytest.raises(UnreachableError) as raised:
                await call
            assert raised.value.reason == "NoCredentials"
            assert TOKEN not in str(raised.value)
        lost = False
        assert await api.get(SECRETS, "ships", "ring") == {"n": 1}


def _named() -> dict[str, Any]:
    return {"metadata": {"name": "ring"}}


async def test_a_nudge_patches_the_status_of_the_pod_with_one_annotation_and_nothing_else(
    api: Api, server: ScriptedServer
) -> None:
    server.answers = [(200, {})]
    assert await nudge(api, "ships", ["api-0"], "12.500") == ""
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/ships/pods/api-0/status")
    assert asked.query == {"fieldManager": "slipway-operator"}
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.body == {"metadata": {"annotations": {NUDGE: "12.500"}}}


async def test_a_patch_of_a_status_that_may_have_been_done_is_not_repeated(api: Api, server: ScriptedServer) -> None:
    server.answers = [None, (200, {})]
    with pytest.raises(UnreachableError):
        await api.patch_status(PODS, "ships", "api-0", {"metadata": {}})
    assert len(server.asked) == 1
