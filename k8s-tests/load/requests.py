"""What the load generator asks, and how it knows that a reply is right."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from load.connections import Reply, WrongReplyError

Check = Callable[[Any], str | None]
"""What is wrong with a reply's JSON; None when it is right."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its expected status, and the check of its reply."""

    kind: str
    method: str
    path: str
    check: Check
    status: int = 200
    headers: tuple[str, ...] = ()
    body: bytes = b""
    idempotent: bool = True

    @property
    def secret(self) -> bool:
        """Whether its reply may hold tokens, and so is never shown."""
        return self.path.startswith("/api/v1/auth/")

    def encode(self, host: str, token: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", *self.headers]
        lines += [f"Authorization: Bearer {token}"] if token else []
        lines += [f"Content-Length: {len(self.body)}"] if self.method == "POST" else []
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def checked(request: Request, reply: Reply) -> Any:
    """The reply's JSON. Raises WrongReplyError when it isn't what the request expects."""
    if reply.status != request.status:
        said = "" if request.secret else f": {reply.body[:200].decode('utf-8', 'replace')}"
        raise WrongReplyError(f"status {reply.status} instead of {request.status}{said}")
    try:
        shown = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        raise WrongReplyError("no JSON") from None
    try:
        wrong = request.check(shown)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = "" if request.secret else f" {error}"
        raise WrongReplyError(f"not of the expected shape: {type(error).__name__}{said}") from None
    if wrong is not None:
        raise WrongReplyError(wrong)
    return shown


class Writes:
    """What was written, and what the service acknowledged."""

    def __init__(self) -> None:
        self.run = f"load-{secrets.token_hex(6)}"
        self._tried: set[str] = set()
        self._acknowledged: dict[str, str] = {}

    @property
    def acknowledged(self) -> int:
        return len(self._acknowledged)

    def create(self) -> Request:
        title = f"{self.run} {len(self._tried)}"
        self._tried.add(title)
        content = _content(title)

        def check(item: Any) -> str | None:
            wrong = _differs(item, content)
            if wrong is None:
                self._acknowledged[title] = item["id"]
            return wrong

        headers = ("Content-Type: application/json", f"Idempotency-Key: {secrets.token_hex(16)}")
        return Request("create", "POST", "/api/v1/items", check, 201, headers, orjson.dumps(content))

    def read(self, pick: random.Random) -> Request | None:
        """Any acknowledged item again; None when there is none yet."""
        if not self._acknowledged:
            return None
        title, item_id = pick.choice(list(self._acknowledged.items()))
        expected = {"id": item_id, **_content(title)}
        return Request("read", "GET", f"/api/v1/items/{item_id}", lambda item: _differs(item, expected))

    def page(self, kind: str, per_page: int, cursor: str = "") -> Request:
        """A part of the list; what this run wrote must be in it as written."""
        path = f"/api/v1/items?per_page={per_page}" + (f"&cursor={cursor}" if cursor else "")

        def check(page: Any) -> str | None:
            if not isinstance(page, dict) or page.get("per_page") != per_page or "next_cursor" not in page:
                return "not a page of items"
            wrong = (_differs(item, _content(item["title"])) for item in self._own(page["items"]))
            return next((fault for fault in wrong if fault), None)

        return Request(kind, "GET", path, check)

    def _own(self, items: list[dict[str, str]]) -> list[dict[str, str]]:
        return [item for item in items if item["title"].startswith(f"{self.run} ")]

    def faults(self, found: list[dict[str, str]]) -> list[str]:
        """What is wrong with the writes, given everything that the list holds."""
        ids: dict[str, list[str]] = {}
        for item in self._own(found):
            ids.setdefault(item["title"], []).append(item["id"])
        faults = [f"acknowledged but not there: {title}" for title in self._acknowledged if title not in ids]
        faults += [f"there {len(held)} times: {title}" for title, held in ids.items() if len(held) > 1]
        faults += [f"there but never sent: {title}" for title in ids if title not in self._tried]
        for title, item_id in self._acknowledged.items():
            if title in ids and item_id not in ids[title]:
                faults.append(f"there under another id than acknowledged: {title}")
        return faults


class Exports:
    """Background jobs that were asked for; each acknowledged one has to be done in the end."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []

    def ask(self) -> Request:
        def check(export: Any) -> str | None:
            if not isinstance(export, dict) or not isinstance(export.get("id"), str):
                return "not an export"
            self.acknowledged.append(export["id"])
            return None

        headers = ("Content-Type: application/json", f"Idempotency-Key: {secrets.token_hex(16)}")
        return Request("export", "POST", "/api/v1/exports", check, 202, headers, orjson.dumps({"format": "csv"}))

    @staticmethod
    def look(export_id: str) -> Request:
        return Request("verify", "GET", f"/api/v1/exports/{export_id}", _export_fault)


def _export_fault(export: Any) -> str | None:
    if not isinstance(export, dict) or export.get("state") not in {"queued", "running", "done"}:
        return "an export that failed, or none"
    return None


def _content(title: str) -> dict[str, str]:
    return {"title": title, "body": f"Written as {title}."}


def _differs(shown: Any, expected: dict[str, str]) -> str | None:
    if not isinstance(shown, dict) or not isinstance(shown.get("id"), str):
        return "not an item"
    wrong = [name for name, value in expected.items() if shown.get(name) != value]
    return f"{', '.join(wrong)} not as written" if wrong else None
