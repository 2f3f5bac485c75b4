"""Asks every running pod which keys and which database role it really uses.

What can't be asked is lagging, with the reason; what a pod answers is never repeated.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from slipway_operator.cluster import Api
from slipway_operator.evidence.consumers import NOT_ASKED, Consumers, Endpoint, Report
from slipway_operator.evidence.finding import find

ANSWER_SECONDS = 2.0
LARGEST_ANSWER = 64 * 1024
AT_A_TIME = 32
MOST_KEYS = 100
LONGEST_LIFETIME = 86_400.0 * 366
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_ROLE_LIMIT = 63
_OK = 200
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class _Pod:
    name: str
    address: str
    starting: bool


class _UnusableError(Exception):
    """CamelCase reason why an answer doesn't count."""


def open_http() -> aiohttp.ClientSession:
    """For `ask`: no cookies, no proxies, a new connection each time, because addresses of pods are used again."""
    connector = aiohttp.TCPConnector(limit=AT_A_TIME, force_close=True)
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

    async def one(pod: _Pod) -> Report:
        if endpoint is None:
            return Report(pod.name, NOT_ASKED)
        async with free:
            return await _report(http, pod, endpoint)

    reports = await asyncio.gather(*(one(pod) for pod in pods))
    return Consumers(tuple(sorted(reports, key=lambda report: report.pod)), found.wanted, found.refers, found.unlisted)


def _pod(found: Mapping[str, Any]) -> _Pod:
    status = found["status"]
    starting = not any(one.get("started") for one in status.get("containerStatuses") or ())
    return _Pod(found["metadata"]["name"], status.get("podIP", ""), starting)


async def _report(http: aiohttp.ClientSession, pod: _Pod, endpoint: Endpoint) -> Report:
    told = await _told(http, pod, endpoint)
    return replace(told, starting=bool(told.fault) and pod.starting)


async def _told(http: aiohttp.ClientSession, pod: _Pod, endpoint: Endpoint) -> Report:
    if not pod.address:
        return Report(pod.name, "NoAddress")
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    try:
        return _understood(pod.name, await _fetched(http, f"http://{host}:{endpoint.port}{endpoint.path}"))
    except _UnusableError as fault:
        return Report(pod.name, str(fault))
    except TimeoutError:
        return Report(pod.name, "TimedOut")
    except (aiohttp.ClientError, OSError, ValueError):
        return Report(pod.name, "Unreachable")


async def _fetched(http: aiohttp.ClientSession, url: str) -> bytes:
    async with http.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response:
        if response.status in _REDIRECTS:
            raise _UnusableError("Redirected")
        if response.status != _OK:
            raise _UnusableError("BadStatus")
        body = bytearray()
        async for part in response.content.iter_chunked(1 << 14):
            body += part
            if len(body) > LARGEST_ANSWER:
                raise _UnusableError("TooLarge")
        return bytes(body)


def _understood(pod: str, body: bytes) -> Report:
    """Raises _UnusableError for anything but the document that docs/bring-your-own-service.md describes."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise _UnusableError("Malformed") from None
    if not isinstance(found, dict):
        raise _UnusableError("Malformed")
    keys, signing = found.get("keys", []), found.get("signing", "")
    lifetime, role = found.get("token_lifetime", 0), found.get("database_role") or ""
    fits = (
        isinstance(keys, list)
        and len(keys) <= MOST_KEYS
        and all(isinstance(key, str) and _ID.fullmatch(key) for key in keys)
        and isinstance(signing, str)
        and (not signing or _ID.fullmatch(signing))
        and isinstance(lifetime, int | float)
        and not isinstance(lifetime, bool)
        and 0 <= lifetime <= LONGEST_LIFETIME
        and isinstance(role, str)
        and len(role) <= _ROLE_LIMIT
    )
    if not fits:
        raise _UnusableError("Malformed")
    return Report(pod, "", frozenset(keys), signing, float(lifetime), role)
