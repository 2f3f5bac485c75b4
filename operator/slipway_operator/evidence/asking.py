"""Asks every running pod which keys and which database role it really uses.

What can't be asked is lagging, with the reason; what a pod answers is never repeated.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from slipway_operator.clock import SKEWED, ServerClock, moment
from slipway_operator.cluster import Api
from slipway_operator.evidence.consumers import NOT_ASKED, Consumers, Endpoint, Report
from slipway_operator.evidence.document import LONGEST_LIFETIME, Document, UnusableError, understood
from slipway_operator.evidence.finding import find
from slipway_operator.evidence.lists import Lists
from slipway_operator.evidence.pods import Pod, pod_of, way_through
from slipway_operator.evidence.trust import trusted
from slipway_operator.nodes import told as told_of_lost
from slipway_operator.times import timestamp

ANSWER_SECONDS = 2.0
LARGEST_ANSWER = 64 * 1024
AT_A_TIME = 32
PROCESSES_SECONDS = 4.0
"""For hearing all processes of a pod twice, once one has told that there are several."""
WAVES_A_PROCESS, LARGEST_WAVE = 12, 8

_OK, _FORBIDDEN = 200, 403
_REDIRECTS = range(300, 400)
_CLOSED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


@dataclass(frozen=True, slots=True)
class _Line:
    """How all pods of a look are asked. `free` bounds how many at a time."""

    http: aiohttp.ClientSession
    endpoint: Endpoint
    trust: ssl.SSLContext | None
    free: asyncio.Semaphore
    clock: ServerClock

    def url(self, address: str, port: int) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"http{'s' if self.trust else ''}://{host}:{port}{self.endpoint.path}"


def open_http() -> aiohttp.ClientSession:
    """For `Asking`: no cookies, no proxies, a new connection each time, because addresses of pods are used again."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each look bounds its own
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar, trust_env=False)


class Asking:
    """Asks for many resources; what is listed for one serves all that look at the same time."""

    def __init__(self, api: Api, http: aiohttp.ClientSession) -> None:
        self._api = api
        self._http = http
        self._lists = Lists(api)

    async def ask(self, namespace: str, secret: str, endpoint: Endpoint | None) -> Consumers:
        """Who uses the Secret, listed afresh, and what each pod tells within 2 s; without an endpoint none is asked.

        Raises ApiError when pods can't be listed, or whom to believe can't be read.
        """
        found = await find(self._lists, namespace, secret, endpoint.selector if endpoint else "")
        now = self._api.clock()
        pods = sorted((pod_of(one, now) for one in found.pods), key=lambda pod: pod.name)
        reports = await self._reports(namespace, endpoint, pods)
        return Consumers(reports, found.wanted, found.refers, found.unlisted)

    async def _reports(self, namespace: str, endpoint: Endpoint | None, pods: list[Pod]) -> tuple[Report, ...]:
        if endpoint is None:
            return tuple(Report(pod.name, NOT_ASKED) for pod in pods)
        try:
            trust = await trusted(self._api, namespace, endpoint.tls) if endpoint.tls and pods else None
        except UnusableError as fault:
            return tuple(_silent(pod, fault) for pod in pods)
        line = _Line(self._http, endpoint, trust, asyncio.Semaphore(AT_A_TIME), self._api.clock)
        told = await asyncio.gather(*(_reports(line, pod) for pod in pods))
        return tuple(report for reports in told for report in reports)


async def _reports(line: _Line, pod: Pod) -> list[Report]:
    """What each of its processes told; and, where one couldn't be heard, why."""
    asked = line.endpoint.port
    port = pod.ports.get(asked, 0) if isinstance(asked, str) else asked
    if not port:
        return [_silent(pod, UnusableError("PortUnknown"), detail=f"no container names one {asked}")]
    if not pod.address:
        return [_silent(pod, UnusableError("NoAddress"))]
    url = line.url(pod.address, port)
    try:
        async with line.free:
            first, ahead = await _told(line, url)
    except UnusableError as fault:
        if fault.closed and pod.mesh:
            return [_silent(pod, UnusableError("MeshRefuses"), way=way_through(pod.mesh, port))]
        return [_silent(pod, fault)]
    if first.processes == 1:
        return [_report(pod, first, ahead)]
    return await _of_several(line, pod, url, first, ahead)


async def _of_several(line: _Line, pod: Pod, url: str, first: Document, ahead: float) -> list[Report]:
    rounds: tuple[set[Document], set[Document]] = set(), set()
    with suppress(TimeoutError):
        async with asyncio.timeout(PROCESSES_SECONDS):
            for heard in rounds:
                if not await _hear(line, url, first.processes, heard):
                    break
    told = {first}.union(*rounds)
    processes, wanted = {one.process for one in told}, max(one.processes for one in told)
    # One that was replaced meanwhile isn't in both rounds, and then nobody knows who else is new.
    whole = all({one.process for one in heard} == processes for heard in rounds)
    reports = [_report(pod, one, ahead) for one in told]
    if not whole or len(processes) != wanted:
        reports.append(_silent(pod, UnusableError("ProcessesUnheard"), detail=f"{len(processes)} heard of {wanted}"))
    return reports


async def _hear(line: _Line, url: str, wanted: int, heard: set[Document]) -> bool:
    """Asks over new connections, of which the kernel gives each to whichever process is quickest. Whether all answered.

    Several at a time, or it would always be the same one; and no more often than an answer is worth.
    """

    async def one() -> None:
        async with line.free:
            with suppress(UnusableError):  # it goes unheard, this time
                heard.add((await _told(line, url))[0])

    for _ in range(WAVES_A_PROCESS * wanted):
        await asyncio.gather(*(one() for _ in range(min(wanted, LARGEST_WAVE))))
        if len({told.process for told in heard}) >= wanted:
            return True
    return False


def _report(pod: Pod, told: Document, ahead: float) -> Report:
    """Tokens live longer by as much as the clock that they are made by is ahead."""
    lifetime = told.token_lifetime + ahead if told.token_lifetime else 0.0
    return Report(pod.name, "", told.keys, told.signing, lifetime, told.database_role)


def _silent(pod: Pod, fault: UnusableError, *, detail: str = "", way: str = "") -> Report:
    """Why it couldn't be asked, from what is known of it before what the connection showed."""
    if pod.lost:
        return Report(pod.name, "NodeLost", way=told_of_lost(pod.lost), since=pod.lost.since)
    if pod.job_since is not None:
        detail = f"since {timestamp(int(pod.job_since))}, {fault}"
        way = "Pods of Jobs that tell nothing are waited for until they end: let them, or delete them."
        return Report(pod.name, "JobRuns", detail=detail, way=way, since=pod.job_since)
    return Report(pod.name, str(fault), starting=pod.starting, detail=detail, way=way)


async def _told(line: _Line, url: str) -> tuple[Document, float]:
    """With the seconds by which the pod's clock is ahead, if that is to be spoken of. Raises UnusableError."""
    try:
        body, date = await _fetched(line, url)
        return understood(body), _ahead(line.clock, date)
    except TimeoutError:
        raise UnusableError("TimedOut") from None
    except aiohttp.ClientConnectorCertificateError:
        raise UnusableError("CertificateRefused") from None
    except (aiohttp.ClientConnectorSSLError, ssl.SSLError):
        raise UnusableError("TlsFailed") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnusableError("Unreachable", closed=_closed(error)) from None


def _closed(error: Exception) -> bool:
    """Whether somebody took the connection and closed it, as a proxy does that wants another kind of client."""
    return isinstance(error, aiohttp.ServerDisconnectedError) or (isinstance(error, OSError) and error.errno in _CLOSED)


def _ahead(clock: ServerClock, date: str | None) -> float:
    """Raises UnusableError for a clock so far ahead that nobody could wait for its tokens."""
    at = moment(date)
    lead = at - clock() if at is not None else 0.0
    if lead > LONGEST_LIFETIME:
        raise UnusableError("ClockSkewed")
    return lead if lead > SKEWED else 0.0


async def _fetched(line: _Line, url: str) -> tuple[bytes, str | None]:
    tls = line.endpoint.tls
    async with line.http.get(
        url,
        allow_redirects=False,
        headers={"Accept": "application/json"},
        ssl=line.trust or True,
        server_hostname=tls.server_name if tls else None,
    ) as response:
        if response.status in _REDIRECTS:
            raise UnusableError("Redirected")
        if response.status != _OK:
            raise UnusableError("BadStatus", closed=response.status == _FORBIDDEN)
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > LARGEST_ANSWER:
                raise UnusableError("TooLarge")
        return bytes(body), response.headers.get("Date")
