"""Asks every running pod which keys and which database role it really uses.

What can't be asked is lagging, with the reason; what a pod answers is never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from slipway_operator.cluster import Api
from slipway_operator.evidence.consumers import NOT_ASKED, Consumers, Endpoint, Report
from slipway_operator.evidence.document import Document, UnusableError, understood
from slipway_operator.evidence.finding import find

ANSWER_SECONDS = 2.0
LARGEST_ANSWER = 64 * 1024
AT_A_TIME = 32
PROCESSES_SECONDS = 4.0
"""For hearing all processes of a pod twice, once one has told that there are several."""
WAVES_A_PROCESS, LARGEST_WAVE = 12, 8

_OK = 200
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class _Pod:
    name: str
    address: str
    starting: bool


def open_http() -> aiohttp.ClientSession:
    """For `ask`: no cookies, no proxies, a new connection each time, because addresses of pods are used again."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each look bounds its own
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar, trust_env=False)


async def ask(
    api: Api, http: aiohttp.ClientSession, namespace: str, secret: str, endpoint: Endpoint | None
) -> Consumers:
    """Who uses the Secret, listed afresh, and what each pod tells within 2 s; without an endpoint none is asked.

    Raises ApiError when pods can't be listed.
    """
    found = await find(api, namespace, secret, endpoint.selector if endpoint else "")
    pods = [_pod(one) for one in found.pods]
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(pod: _Pod) -> list[Report]:
        return [Report(pod.name, NOT_ASKED)] if endpoint is None else await _reports(http, pod, endpoint, free)

    told = await asyncio.gather(*(one(pod) for pod in sorted(pods, key=lambda pod: pod.name)))
    return Consumers(
        tuple(report for reports in told for report in reports), found.wanted, found.refers, found.unlisted
    )


def _pod(found: Mapping[str, Any]) -> _Pod:
    status = found["status"]
    starting = not any(one.get("started") for one in status.get("containerStatuses") or ())
    return _Pod(found["metadata"]["name"], status.get("podIP", ""), starting)


async def _reports(http: aiohttp.ClientSession, pod: _Pod, endpoint: Endpoint, free: asyncio.Semaphore) -> list[Report]:
    """What each of its processes told; and, where one couldn't be heard, why."""
    if not pod.address:
        return [_faulty(pod, "NoAddress")]
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    url = f"http://{host}:{endpoint.port}{endpoint.path}"
    try:
        async with free:
            first = await _told(http, url)
    except UnusableError as fault:
        return [_faulty(pod, str(fault))]
    if first.processes == 1:
        return [_report(pod, first)]
    rounds: tuple[set[Document], set[Document]] = set(), set()
    with suppress(TimeoutError):
        async with asyncio.timeout(PROCESSES_SECONDS):
            for heard in rounds:
                if not await _hear(http, url, first.processes, free, heard):
                    break
    told = {first}.union(*rounds)
    processes, wanted = {one.process for one in told}, max(one.processes for one in told)
    # One that was replaced meanwhile isn't in both rounds, and then nobody knows who else is new.
    whole = all({one.process for one in heard} == processes for heard in rounds)
    reports = [_report(pod, one) for one in told]
    if not whole or len(processes) != wanted:
        detail = f"{len(processes)} heard of {wanted}"
        reports.append(Report(pod.name, "ProcessesUnheard", starting=pod.starting, detail=detail))
    return reports


async def _hear(
    http: aiohttp.ClientSession, url: str, wanted: int, free: asyncio.Semaphore, heard: set[Document]
) -> bool:
    """Asks over new connections, of which the kernel gives each to whichever process is quickest. Whether all answered.

    Several at a time, or it would always be the same one; and no more often than an answer is worth.
    """

    async def one() -> None:
        async with free:
            with suppress(UnusableError):  # it goes unheard, this time
                heard.add(await _told(http, url))

    for _ in range(WAVES_A_PROCESS * wanted):
        await asyncio.gather(*(one() for _ in range(min(wanted, LARGEST_WAVE))))
        if len({told.process for told in heard}) >= wanted:
            return True
    return False


def _report(pod: _Pod, told: Document) -> Report:
    return Report(pod.name, "", told.keys, told.signing, told.token_lifetime, told.database_role)


def _faulty(pod: _Pod, fault: str) -> Report:
    return Report(pod.name, fault, starting=pod.starting)


async def _told(http: aiohttp.ClientSession, url: str) -> Document:
    """Raises UnusableError."""
    try:
        return understood(await _fetched(http, url))
    except TimeoutError:
        raise UnusableError("TimedOut") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise UnusableError("Unreachable") from None


async def _fetched(http: aiohttp.ClientSession, url: str) -> bytes:
    async with http.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response:
        if response.status in _REDIRECTS:
            raise UnusableError("Redirected")
        if response.status != _OK:
            raise UnusableError("BadStatus")
        body = bytearray()
        async for part in response.content.iter_chunked(1 << 14):
            body += part
            if len(body) > LARGEST_ANSWER:
                raise UnusableError("TooLarge")
        return bytes(body)
