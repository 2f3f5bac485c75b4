"""The few calls to the API server, each with a timeout, and reads with bounded retries."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

import aiohttp
import kopf
from aiohttp.http_exceptions import LineTooLong

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
CREDENTIALS_SECONDS = 60.0
"""The kubelet writes a new token long before the old one ends."""
CONNECTIONS = 16
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Json = dict[str, Any]
Objects = list[Json]
Login = Callable[[], kopf.ConnectionInfo]


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


_BY_STATUS: Mapping[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 403: ForbiddenError}
_GONE = 410
_UNAUTHORIZED = 401
_TOO_MANY = 429
_SERVER_FAULT = 500
_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})


def login() -> kopf.ConnectionInfo:
    """The service account of the pod, else the kubeconfig of a developer. kopf.LoginError where there is neither."""
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise kopf.LoginError("There is neither a service account nor a kubeconfig to reach a cluster with.")
    return found


class Api:
    """An open connection to the API server: `async with Api() as api`.

    Reads are tried again on any fault of connection or server; writes only where the server turned them away (429),
    because of all other faults it isn't known whether they were done.
    """

    definitions: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Schema of each kind of ours that the cluster has, once it is known; definitions.py sets it."""

    def __init__(self, login: Login = login, *, jitter: random.Random | None = None) -> None:
        self._login = login
        self._jitter = jitter or random.Random()  # noqa: S311 - it only spreads load
        self._credentials: kopf.ConnectionInfo | None = None
        self._read_at = 0.0
        self._session: aiohttp.ClientSession | None = None
        self._watching: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        credentials = self._fresh_credentials()
        connector = aiohttp.TCPConnector(ssl=credentials.as_ssl_context(), limit=CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        watches = aiohttp.TCPConnector(ssl=credentials.as_ssl_context(), limit=0)  # who opens one bounds their number
        self._watching = aiohttp.ClientSession(connector=watches)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._session, self._watching):
            if session is not None:
                await session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """A fresh read; None when there is no such object."""
        try:
            return _object(await self._read(resource.path(namespace, name)))
        except NotFoundError:
            return None

    async def document(self, path: str) -> Json | None:
        """What the server tells under a path that is no resource, such as its OpenAPI documents; None: no such path."""
        try:
            return _object(await self._read(path))
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
        return _object(await self._call("POST", resource.path(namespace), query, body))

    async def apply(self, resource: Resource, namespace: str, body: Json) -> Json:
        """Server-side apply of `body`, which names itself; takes over fields that others own."""
        return await self._apply(resource.path(namespace, body["metadata"]["name"]), body)

    async def apply_status(self, resource: Resource, namespace: str, body: Json) -> Json:
        """As `apply`, to the status; with metadata.resourceVersion only if it is still that (else ConflictError)."""
        return await self._apply(resource.path(namespace, body["metadata"]["name"], "status"), body)

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """A JSON merge patch of the object through its status: annotations pass, the rest of the object doesn't."""
        path = resource.path(namespace, name, "status")
        query = {"fieldManager": FIELD_MANAGER}
        return _object(await self._call("PATCH", path, query, body, "application/merge-patch+json"))

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete that very object and what it owns; one that is gone is fine. ConflictError: another has its name."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._call("DELETE", resource.path(namespace, name), {}, options)
        except NotFoundError:
            return

    async def changes(self, resource: Resource, namespace: str, name: str, *, seconds: int) -> AsyncIterator[None]:
        """Yields whenever that one object may have changed, first at once, never its content; ends after `seconds`.

        Raises ApiError, also of what the server tells within the stream, such as 410. A half line at its end is none.
        Each call begins anew, not where another ended: who calls again has to look at once. Takes a connection of its
        own for as long as it runs.
        """
        if self._watching is None:
            raise RuntimeError("Api is used outside of `async with`.")
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
            async with self._watching.get(url, params=query, headers=headers, timeout=timeout) as response:
                if not response.ok:
                    if response.status == _UNAUTHORIZED:
                        self._credentials = None  # read anew for the next call
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
        text = await self._read(Resource("", "v1", "pods").path(namespace, pod, "log"), query)
        return text[:limit].decode(errors="replace")

    async def _apply(self, path: str, body: Json) -> Json:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return _object(await self._call("PATCH", path, query, body, "application/apply-patch+yaml"))

    async def _pages(self, path: str, query: Mapping[str, str]) -> Objects:
        items: Objects = []
        token = ""
        for _ in range(MOST_PAGES):
            page = _object(await self._read(path, {**query, "limit": str(PAGE), "continue": token}))
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return items
        raise ApiError(0, "TooMany", f"{path} holds more than {PAGE * MOST_PAGES} objects.")

    async def _read(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        return await self._call("GET", path, query or {})

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None = None,
        media: str = "application/json",
    ) -> bytes:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Accept": "application/json, */*"} | ({} if data is None else {"Content-Type": media})
        params = {name: value for name, value in query.items() if value}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, path, params, data, headers)
            except ApiError as error:
                if attempt == ATTEMPTS or not self._may_repeat(method, error):
                    raise
                pause = min(LONGEST_PAUSE, max(0.1 * 2**attempt, error.retry_after))
                await asyncio.sleep(pause * self._jitter.uniform(1.0, 1.5))
        raise AssertionError("every attempt returns or raises")

    def _may_repeat(self, method: str, error: ApiError) -> bool:
        if error.status == _UNAUTHORIZED:
            # Only once for each token that was read: the next attempt sends a new one, or there is none.
            return self._drop_credentials()
        if error.status == _TOO_MANY:
            return True
        return method == "GET" and (error.status >= _SERVER_FAULT or isinstance(error, UnreachableError))

    async def _once(
        self, method: str, path: str, params: Mapping[str, str], data: bytes | None, headers: Mapping[str, str]
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("Api is used outside of `async with`.")
        credentials = self._fresh_credentials()
        url = credentials.server.rstrip("/") + path
        sent = {**headers, **credentials.as_http_headers()}
        try:
            async with self._session.request(method, url, params=params, data=data, headers=sent) as response:
                answer = await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # No chaining: what these errors hold includes the request and its headers.
            raise UnreachableError(0, "Unreachable", f"{method} {path}: {type(error).__name__}") from None
        if response.ok:
            return answer
        raise _refusal(response.status, answer, response.headers.get("Retry-After", ""))

    def _fresh_credentials(self) -> kopf.ConnectionInfo:
        if self._credentials is None or time.monotonic() - self._read_at > CREDENTIALS_SECONDS:
            try:
                self._credentials = self._login()
            except (kopf.LoginError, OSError, ValueError) as error:
                # They may be back in a moment, so it is told like a server that is away. Other errors than kopf's only
                # by their kind: that of a malformed file may repeat what is in it.
                said = str(error) if isinstance(error, kopf.LoginError) else type(error).__name__
                raise UnreachableError(0, "NoCredentials", f"No credentials for the cluster: {said}") from None
            self._read_at = time.monotonic()
        return self._credentials

    def _drop_credentials(self) -> bool:
        """Whether reading them anew brings others."""
        former = self._credentials
        self._credentials = None
        return self._fresh_credentials() != former


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
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
