"""The few calls to the API server, each with a timeout, and reads with bounded retries."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

import aiohttp
import kopf
from aiohttp.http_exceptions import LineTooLong

from slipway_operator.clock import ServerClock
from slipway_operator.connections import Connections
from slipway_operator.credentials import Credentials, Login, NoCredentialsError, login
from slipway_operator.guard import Guard

FIELD_MANAGER = "slipway-operator"
CALL_SECONDS = 20.0
CONNECT_SECONDS = 5.0
ATTEMPTS = 4
LONGEST_PAUSE = 5.0
"""Seconds between two attempts, also if the server asks for more: then the caller comes back later."""
PAGE = 250
MOST_PAGES = 40
LONGEST_ANSWER = 32 * 1024 * 1024
LONGEST_MESSAGE = 1024
CONNECTIONS = 16
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Json = dict[str, Any]
Objects = list[Json]


@dataclass(frozen=True, slots=True)
class Resource:
    """`group` is empty for the core API."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = (root, "namespaces", namespace, self.plural, name, subresource)
        return "/".join(part for part in parts if part)


PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")
DAEMON_SETS = Resource("apps", "v1", "daemonsets")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
CRON_JOBS = Resource("batch", "v1", "cronjobs")
JOBS = Resource("batch", "v1", "jobs")
EVENTS = Resource("", "v1", "events")
CONFIG_MAPS = Resource("", "v1", "configmaps")


class ApiError(Exception):
    """The API server said no: HTTP status, CamelCase reason and its message, without anything that was sent.

    `retry_after`: seconds that it asks to be left alone for; 0: it doesn't say.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFoundError(ApiError):
    pass


class ConflictError(ApiError):
    """409: another version than the one that was read, or it is there already (`reason` AlreadyExists)."""


class ForbiddenError(ApiError):
    """Rights that lack, or an admission plugin that refuses."""


class UnreachableError(ApiError):
    """No answer in time, or one that isn't whole; `status` is 0. A write may or may not have been done."""


class NotServedError(UnreachableError):
    """Nothing was sent: this operator doesn't hold the namespace's Lease, or not for long enough."""

    def __init__(self, namespace: str) -> None:
        super().__init__(0, "NotServed", f"The Lease in {namespace} isn't held: nothing is changed there.")


_BY_STATUS: Mapping[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 403: ForbiddenError}
_GONE = 410
_UNAUTHORIZED = 401
_TOO_MANY = 429
_SERVER_FAULT = 500
_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})


class Api:
    """An open connection to the API server: `async with Api() as api`.

    Reads are tried again on any fault of connection or server; writes only where the server turned them away (429),
    because of all other faults it isn't known whether they were done. `guard` is asked before each attempt at a write;
    each answer tells `clock` the time.
    """

    definitions: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Schema of each kind of ours that the cluster has, once it is known; definitions.py sets it."""
    guard: Guard = Guard()
    namespace: str = ""
    """The operator's own; empty: it isn't known."""
    clock: ServerClock = ServerClock()

    def __init__(self, login: Login = login, *, jitter: random.Random | None = None) -> None:
        self.login = login
        self.clock = ServerClock()
        self._credentials = Credentials(login)
        self._jitter = jitter or random.Random()  # noqa: S311 - it only spreads load
        self._connections = Connections(CONNECTIONS)

    async def __aenter__(self) -> Self:
        self._connections.open(self._fresh_credentials())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()

    async def get(self, resource: Resource, namespace: str, name: str, *, seconds: float = CALL_SECONDS) -> Json | None:
        """A fresh read; None when there is no such object."""
        return await self.document(resource.path(namespace, name), seconds=seconds)

    async def document(self, path: str, *, seconds: float = CALL_SECONDS) -> Json | None:
        """What the server tells under a path, such as its OpenAPI documents; None: no such path."""
        try:
            return _object(await self._call("GET", path, {}, seconds=seconds))
        except NotFoundError:
            return None

    async def list(self, resource: Resource, namespace: str, *, labels: str = "", fields: str = "") -> Objects:
        """A quorum read of all that match, in pages. ApiError `TooMany` beyond 10,000 objects."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        try:
            return await self._pages(resource.path(namespace), query)
        except ApiError as error:
            if error.status != _GONE:
                raise
        # The pages' common version was too old before the last of them: once more from the beginning.
        return await self._pages(resource.path(namespace), query)

    async def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        """ConflictError when it is there already."""
        query = {"fieldManager": FIELD_MANAGER}
        return _object(await self._write("POST", namespace, resource.path(namespace), query, body))

    async def apply(self, resource: Resource, namespace: str, body: Json, subresource: str = "") -> Json:
        """Server-side apply of `body`, which names itself; takes over fields that others own."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return _object(await self._write("PATCH", namespace, path, query, body, "application/apply-patch+yaml"))

    async def claim(self, resource: Resource, namespace: str, body: Json, manager: str) -> Json:
        """Make `body` by its name, as somebody of whom nobody else takes over: of two who do so at once, one does it.

        ConflictError when it is there already and says otherwise. A right to `create` by name lets it, and no POST.
        """
        path = resource.path(namespace, body["metadata"]["name"])
        query = {"fieldManager": manager}
        return _object(await self._write("PATCH", namespace, path, query, body, "application/apply-patch+yaml"))

    async def replace(self, resource: Resource, namespace: str, body: Json, *, seconds: float) -> Json:
        """The whole object, only over the version that it has. ConflictError: it is another by now."""
        path = resource.path(namespace, body["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER}
        return _object(await self._write("PUT", namespace, path, query, body, seconds=seconds))

    async def apply_status(self, resource: Resource, namespace: str, body: Json) -> Json:
        """As `apply`, to the status; with metadata.resourceVersion only if it is still that (else ConflictError)."""
        return await self.apply(resource, namespace, body, "status")

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """A JSON merge patch of the object through its status: annotations pass, the rest of the object doesn't."""
        path = resource.path(namespace, name, "status")
        query = {"fieldManager": FIELD_MANAGER}
        return _object(await self._write("PATCH", namespace, path, query, body, "application/merge-patch+json"))

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete that very object and what it owns; one that is gone is fine. ConflictError: another has its name."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._write("DELETE", namespace, resource.path(namespace, name), {}, options)
        except NotFoundError:
            return

    async def changes(self, resource: Resource, namespace: str, name: str, *, seconds: int) -> AsyncIterator[None]:
        """Yields whenever that one object may have changed, first at once, never its content; ends after `seconds`.

        Raises ApiError, also of what the server tells within the stream, such as 410. A half line at its end is none.
        Each call begins anew, not where another ended: who calls again has to look at once. Takes a connection of its
        own for as long as it runs.
        """
        credentials = self._fresh_credentials()
        query = {
            "watch": "true",
            # From whatever the server has at hand: with an older etcd it can't prove that this is the newest, and would
            # end each watch with 504 after 3 s. What changed meanwhile follows.
            "resourceVersion": "0",
            "fieldSelector": f"metadata.name={name}",
            "timeoutSeconds": str(seconds),
            # No bookmarks: the server fails to show them as metadata, and ends the watch at once.
        }
        headers = {"Accept": METADATA_ONLY, **credentials.as_http_headers()}
        timeout = aiohttp.ClientTimeout(total=seconds + CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        url = credentials.server.rstrip("/") + resource.path(namespace)
        try:
            async with self._connections.watches.get(url, params=query, headers=headers, timeout=timeout) as response:
                if not response.ok:
                    if response.status == _UNAUTHORIZED:
                        self._credentials.drop()  # read anew for the next call
                    raise _refusal(response.status, await _bounded(response), response.headers.get("Retry-After", ""))
                yield
                async for line in response.content:
                    if _tells_of_change(line):
                        yield
        except (aiohttp.ClientError, TimeoutError, OSError, LineTooLong) as error:
            raise UnreachableError(0, "Unreachable", f"watch of {name}: {type(error).__name__}") from None

    async def log(self, namespace: str, pod: str, *, container: str, tail: int | None = None, limit: int) -> str:
        """What a container wrote: the first `limit` bytes of its last `tail` lines. ApiError 400 before it runs."""
        query = {"container": container, "limitBytes": str(limit), "tailLines": "" if tail is None else str(tail)}
        text = await self._call("GET", PODS.path(namespace, pod, "log"), query)
        return text[:limit].decode(errors="replace")

    async def _pages(self, path: str, query: Mapping[str, str]) -> Objects:
        items: Objects = []
        token = ""
        for _ in range(MOST_PAGES):
            page = _object(await self._call("GET", path, {**query, "limit": str(PAGE), "continue": token}))
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return items
        raise ApiError(0, "TooMany", f"{path} holds more than {PAGE * MOST_PAGES} objects.")

    async def _write(
        self,
        method: str,
        namespace: str,
        path: str,
        query: Mapping[str, str],
        body: Json,
        media: str = "application/json",
        *,
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        """Ends before the namespace's Lease may. NotServedError when it mustn't begin."""
        return await self._call(
            method, path, query, body, media, limit=lambda: min(seconds, self.guard.left(namespace))
        )

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None = None,
        media: str = "application/json",
        *,
        seconds: float = CALL_SECONDS,
        limit: Callable[[], float] | None = None,
    ) -> bytes:
        """`limit`: seconds of each attempt, asked right before it."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Accept": "application/json, */*"} | ({} if data is None else {"Content-Type": media})
        params = {name: value for name, value in query.items() if value}
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, params, data, headers, limit() if limit else seconds)
            except ApiError as error:
                if attempt == ATTEMPTS or not self._may_repeat(method, error):
                    raise
                pause = min(LONGEST_PAUSE, max(0.1 * 2**attempt, error.retry_after))
                await asyncio.sleep(pause * self._jitter.uniform(1.0, 1.5))

    def _may_repeat(self, method: str, error: ApiError) -> bool:
        if error.status == _UNAUTHORIZED:
            # Only once for each token that was read: the next attempt sends a new one, or there is none.
            former = self._fresh_credentials()
            self._credentials.drop()
            return self._fresh_credentials() != former
        if error.status == _TOO_MANY:
            return True
        return method == "GET" and (error.status >= _SERVER_FAULT or isinstance(error, UnreachableError))

    async def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        data: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> bytes:
        credentials = self._fresh_credentials()
        url = credentials.server.rstrip("/") + path
        sent = {**headers, **credentials.as_http_headers()}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        began = self.clock.began()
        try:
            async with self._connections.calls.request(
                method, url, params=params, data=data, headers=sent, timeout=timeout
            ) as response:
                self.clock.heard(response.headers.get("Date"), began)
                answer = await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # No chaining: what these errors hold includes the request and its headers.
            raise UnreachableError(0, "Unreachable", f"{method} {path}: {type(error).__name__}") from None
        if response.ok:
            return answer
        raise _refusal(response.status, answer, response.headers.get("Retry-After", ""))

    def _fresh_credentials(self) -> kopf.ConnectionInfo:
        try:
            return self._credentials.fresh()
        except NoCredentialsError as error:
            # They may be back in a moment, so it is told like a server that is away.
            raise UnreachableError(0, "NoCredentials", str(error)) from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LONGEST_ANSWER:
            raise ApiError(0, "TooLarge", f"An answer is larger than {LONGEST_ANSWER >> 20} MiB.")
        parts.append(part)
    return b"".join(parts)


def _object(answer: bytes) -> Json:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnreachableError(0, "NotJson", "The API server's answer is no JSON object.")
    return found


def _refusal(status: int, answer: bytes, retry_after: str) -> ApiError:
    try:
        said = _object(answer)
    except UnreachableError:
        said = {}
    return _told(status, said, retry_after)


def _told(status: int, said: Json, retry_after: str = "") -> ApiError:
    reason = str(said.get("reason") or "HttpError")
    message = str(said.get("message") or f"HTTP status {status}")[:LONGEST_MESSAGE]
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0
    return _BY_STATUS.get(status, ApiError)(status, reason, message, seconds)


def _tells_of_change(line: bytes) -> bool:
    """A line of a watch. Raises ApiError when it says that the watch has failed, or is whole and no event."""
    if not line.endswith(b"\n"):
        return False
    event = _object(line)
    kind, shown = event.get("type"), event.get("object")
    if kind != "ERROR":
        return kind in _CHANGES
    said = shown if isinstance(shown, dict) else {}
    code = said.get("code")
    raise _told(code if isinstance(code, int) else _SERVER_FAULT, said)


def is_refusal(error: ApiError) -> bool:
    """Rights that lack, a full quota, too many objects. What is away, or busy, is none: it comes back by itself."""
    passing = isinstance(error, (ConflictError, UnreachableError)) or error.status in (_UNAUTHORIZED, _GONE, _TOO_MANY)
    return not passing and error.status < _SERVER_FAULT
