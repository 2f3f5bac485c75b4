"""Pods are asked for real, over HTTP on this machine; only their list comes from memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from slipway_operator.cluster import ApiError, UnreachableError
from slipway_operator.evidence import asking
from slipway_operator.evidence.asking import Asking, open_http
from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from unit.operator.memory_api import MemoryApi

TOLD = {"keys": ["one", "two"], "signing": "one", "token_lifetime": 900, "database_role": "ships_a"}
SECRET = "never-to-be-repeated"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pod(name: str, address: str = "127.0.0.1", state: str = "running", **status: Any) -> dict[str, Any]:
    container = {"name": "main", "state": {state: {}}, "started": True, **status}
    return {
        "metadata": {
            "name": name,
            "uid": f"u-{name}",
            "labels": {"app": "ships"},
            "creationTimestamp": "2026-11-18T11:06:40Z",
        },
        "spec": {"volumes": [{"name": "keys", "secret": {"secretName": "keys"}}]},
        "status": {"podIP": address, "containerStatuses": [container]},
    }


@pytest.fixture
def cluster() -> MemoryApi:
    found = MemoryApi()
    found.put("pods", pod("a"))
    return found


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http() as session:
        yield session


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[Handler], Awaitable[Endpoint]]]:
    """Serves `/keys` with a handler."""
    runners: list[web.AppRunner] = []

    async def serve(handler: Handler) -> Endpoint:
        app = web.Application()
        app.router.add_get("/keys", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return Endpoint("app=ships", runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()


Serving = Callable[[Handler], Awaitable[Endpoint]]


async def fine(_: web.Request) -> web.Response:
    return web.json_response(TOLD)


def faults(consumers: Consumers) -> dict[str, str]:
    return {report.pod: report.fault for report in consumers.reports}


async def test_a_pod_tells_what_it_uses(cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving) -> None:
    (report,) = (await Asking(cluster, http).ask("ships", "keys", await answering(fine))).reports
    assert report == Report("a", "", frozenset({"one", "two"}), "one", 900.0, "ships_a", starting=False)


@pytest.mark.parametrize(("ahead", "lifetime"), [(720, 1620), (3, 900), (-720, 900)])
async def test_a_pod_whose_clock_is_ahead_makes_tokens_that_live_longer_by_as_much(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving, ahead: int, lifetime: int
) -> None:
    async def dated(_: web.Request) -> web.Response:
        return web.json_response(TOLD, headers={"Date": formatdate(cluster.clock() + ahead, usegmt=True)})

    (report,) = (await Asking(cluster, http).ask("ships", "keys", await answering(dated))).reports
    assert report.token_lifetime == pytest.approx(lifetime, abs=2)


@pytest.mark.parametrize(
    ("date", "fault"),
    [
        ("Fri, 31 Dec 9999 23:59:59 GMT", "ClockSkewed"),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", ""),
        ("Thu, 01 Jan 2026 99999999999999999:00:00 GMT", ""),
    ],
)
async def test_a_pod_whose_clock_nobody_could_wait_for_counts_as_unheard_and_keeps_no_other_from_being_heard(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving, date: str, fault: str
) -> None:
    async def dated(_: web.Request) -> web.Response:
        return web.json_response(TOLD, headers={"Date": date})

    (report,) = (await Asking(cluster, http).ask("ships", "keys", await answering(dated))).reports
    assert (report.fault, report.token_lifetime) == (fault, 0.0 if fault else 900.0)


async def test_a_redirect_is_not_followed(cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        if request.query:
            return web.json_response(TOLD)
        raise web.HTTPFound("/keys?followed")

    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(elsewhere))) == {"a": "Redirected"}
    assert asked == ["/keys"]


async def test_a_pod_that_stalls_is_given_up_in_time_and_holds_up_no_other(
    cluster: MemoryApi, answering: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 1.0)
    cluster.put("pods", pod("b"))
    never, asked = asyncio.Event(), iter(range(2))

    async def first_stalls(_: web.Request) -> web.StreamResponse:
        if next(asked) == 0:
            await never.wait()
        return web.json_response(TOLD)

    async with open_http() as http:
        told = faults(await Asking(cluster, http).ask("ships", "keys", await answering(first_stalls)))
    assert sorted(told.values()) == ["", "TimedOut"]


async def test_a_pod_that_stalls_within_its_answer_is_given_up_too(
    cluster: MemoryApi, answering: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.3)
    never = asyncio.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"keys":')
        await never.wait()
        return response

    async with open_http() as http:
        assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(half))) == {"a": "TimedOut"}


@pytest.mark.parametrize(("size", "fault"), [(asking.LARGEST_ANSWER, ""), (asking.LARGEST_ANSWER + 1, "TooLarge")])
async def test_an_answer_is_read_up_to_its_limit(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving, size: int, fault: str
) -> None:
    async def padded(_: web.Request) -> web.Response:
        return web.Response(body=b"{}".ljust(size))

    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(padded))) == {"a": fault}


async def test_an_endless_answer_is_broken_off(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving
) -> None:
    broken_off = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 4096)
        except (ConnectionError, asyncio.CancelledError):
            broken_off.set()
            raise

    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(endless))) == {"a": "TooLarge"}
    async with asyncio.timeout(10):
        await broken_off.wait()


@pytest.mark.parametrize("status", [201, 204, 401, 404, 500, 503])
async def test_only_200_counts(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving, status: int
) -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(status=status, text="" if status == 204 else '{"keys": ["one"]}')

    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(other))) == {"a": "BadStatus"}


@pytest.mark.parametrize(
    "body",
    [
        "",
        SECRET,
        f'["{SECRET}"]',
        "null",
        "[" * 60_000,
        '{"keys": "one"}',
        '{"keys": [1]}',
        '{"keys": ["a b"]}',
        f'{{"keys": ["{SECRET}\\n"]}}',
        '{{"keys": [{}]}}'.format(",".join(['"k"'] * 101)),
        f'{{"keys": ["{"k" * 129}"]}}',
        '{"signing": 1}',
        '{"signing": "a\\u0000"}',
        '{"token_lifetime": -1}',
        '{"token_lifetime": true}',
        '{"token_lifetime": "900"}',
        '{"token_lifetime": NaN}',
        '{"token_lifetime": Infinity}',
        '{"token_lifetime": 1e300}',
        '{"database_role": 7}',
        f'{{"database_role": "{"r" * 64}"}}',
        '{"keys": ["\\ud800"]}',
        '{"process": "p"}',
        '{"processes": 1}',
        '{"process": "p", "processes": 0}',
        '{"process": "p", "processes": true}',
        '{"process": "p", "processes": 1.5}',
        '{"process": "p", "processes": "2"}',
        '{"process": "p", "processes": 65}',
        '{"process": "", "processes": 2}',
        '{"process": true, "processes": 2}',
        '{"process": null, "processes": 2}',
        '{"process": "a b", "processes": 2}',
        '{"process": -1.5, "processes": 2}',
    ],
)
async def test_what_is_no_report_is_malformed_and_never_repeated(
    cluster: MemoryApi,
    http: aiohttp.ClientSession,
    answering: Serving,
    caplog: pytest.LogCaptureFixture,
    body: str,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def told(_: web.Request) -> web.Response:
        return web.Response(text=body)

    found = await Asking(cluster, http).ask("ships", "keys", await answering(told))
    assert faults(found) == {"a": "Malformed"}
    assert SECRET not in f"{found!r}{caplog.text}"


async def test_bytes_that_are_no_text_are_malformed(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving
) -> None:
    async def binary(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff\xfe\x00{")

    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(binary))) == {"a": "Malformed"}


async def test_a_pod_that_hangs_up_or_has_no_address_is_named(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving
) -> None:
    cluster.put("pods", pod("b", address=""))

    async def hangs_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    told = faults(await Asking(cluster, http).ask("ships", "keys", await answering(hangs_up)))
    assert told == {"a": "Unreachable", "b": "NoAddress"}


async def test_every_pod_whose_container_runs_is_asked_and_no_other(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving
) -> None:
    leaving = pod("leaving", ready=False)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    initial = pod("initial")
    initial["status"] |= {"containerStatuses": [], "initContainerStatuses": [{"state": {"running": {}}}]}
    bare = {"metadata": {"name": "bare", "labels": {"app": "ships"}}, "spec": {}}
    other = pod("other")
    other["metadata"]["labels"], other["spec"] = {"app": "ferry"}, {}
    cluster.put("pods", leaving, initial, bare, other, pod("over", state="terminated"), pod("soon", state="waiting"))
    assert faults(await Asking(cluster, http).ask("ships", "keys", await answering(fine))) == {"a": "", "leaving": ""}


async def test_a_pod_that_tells_nothing_yet_only_starts_and_one_that_tells_has_started(
    cluster: MemoryApi, http: aiohttp.ClientSession, answering: Serving
) -> None:
    cluster.put("pods", pod("a", started=False), pod("b", address="", started=False), pod("c", address=""))
    reports = (await Asking(cluster, http).ask("ships", "keys", await answering(fine))).reports
    assert {report.pod: report.starting for report in reports} == {"a": False, "b": True, "c": False}


async def test_where_evidence_is_time_pods_are_named_and_none_is_asked(
    cluster: MemoryApi, http: aiohttp.ClientSession
) -> None:
    assert await Asking(cluster, http).ask("ships", "keys", None) == Consumers((Report("a", "NotAsked"),), refers=True)


async def test_pods_that_cant_be_listed_are_no_evidence(cluster: MemoryApi, http: aiohttp.ClientSession) -> None:
    cluster.faults["list pods"] = UnreachableError(0, "Unreachable", "away")
    with pytest.raises(ApiError):
        await Asking(cluster, http).ask("ships", "keys", Endpoint("app=ships"))
