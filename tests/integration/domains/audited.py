"""Every write route of the API in use: with a mark in all that a client may write, and what its row has to say."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute

from integration.conftest import Person
from integration.domains.kept import Kept
from integration.mailing import Post
from integration.sql import run_sql
from slipway.resources import Resources

MARK = "zq7mark"
ELSEWHERE = "203.0.113.99"
"""An address that only headers name."""
HERE = "127.0.0.1"
MARKED = {
    "User-Agent": f"{MARK}-agent",
    "Referer": f"https://{MARK}.example.com",
    "X-Forwarded-For": ELSEWHERE,
    "Forwarded": f"for={ELSEWHERE}",
    "Idempotency-Key": f"{MARK}-key",
    "Cookie": f"{MARK}=1",
}
PASSED = f"{MARK} is a long password"
READS = {"GET", "HEAD", "OPTIONS"}
AUTH = "/api/v1/auth"
PROVED = ("sessions.guess", "sessions.prove")
"""Rows of a password that was right, beside that of what it was named for."""


@dataclass(frozen=True, slots=True)
class Written:
    """A reply, and the row that it must have left; `beside` are actions of other rows of the same request."""

    reply: httpx.Response
    action: str
    resource: str | None
    actor: str | None = None
    session: str | None = None
    beside: tuple[str, ...] = ()


@dataclass(slots=True)
class Stage:
    """Who is there; `secrets` are those that replies and mails have given away so far."""

    resources: Resources
    anonymous: httpx.AsyncClient
    post: Post
    admin: Person
    secrets: list[str] = field(default_factory=list)
    count: int = 0

    def headers(self) -> dict[str, str]:
        """Marked ones, with an id of the next request's own."""
        self.count += 1
        return {**MARKED, "X-Request-ID": f"{MARK}-{self.count}", "Idempotency-Key": f"{MARK}-key-{self.count}"}

    async def send(self, method: str, path: str, who: Person | None = None, **more: Any) -> httpx.Response:
        client = self.anonymous if who is None else who.client
        return await client.request(method, path, headers=self.headers(), params={"mark": MARK}, **more)

    async def person(self) -> Person:
        """A new user, signed in."""
        email = f"{MARK}-{uuid4().hex[:8]}@example.com"
        new = {"email": email, "password": PASSED, "display_name": f"{MARK} name"}
        made = await self.send("POST", "/api/v1/users", self.admin, json=new)
        assert made.status_code == 201, made.text
        tokens = await self.tokens(email)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        transport = self.anonymous._transport  # noqa: SLF001 - one app for all
        client = httpx.AsyncClient(transport=transport, base_url=self.anonymous.base_url, headers=headers)
        return Person(made.json()["id"], email, client)

    async def tokens(self, email: str, password: str = PASSED) -> dict[str, str]:
        reply = await self.send("POST", f"{AUTH}/token", data={"username": email, "password": password})
        assert reply.status_code == 200, reply.text
        tokens: dict[str, str] = reply.json()
        self.secrets += [tokens["access_token"], tokens["refresh_token"]]
        return tokens

    async def mailed(self, to: str) -> str:
        """The token of the link that was mailed to an address."""
        token = next(mail.token for mail in await self.post.sent() if mail.to == to and "token=" in mail.text)
        self.secrets.append(token)
        return token


def marked(kept: Kept) -> dict[str, Any]:
    """A body with a mark in every member that takes text."""
    return {**kept.body, **{member: f"{MARK} {member}" for member in kept.texts}}


def session_in(access_token: str) -> str:
    payload = access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["sid"])


def session_of(person: Person) -> str:
    return session_in(person.client.headers["Authorization"])


Act = Callable[[Stage], Awaitable[Written]]
WRITES: dict[str, Act] = {}
"""By method and path, all but what `writes_of` tells of."""


def writes(route: str) -> Callable[[Act], Act]:
    def register(act: Act) -> Act:
        WRITES[route] = act
        return act

    return register


@writes("POST /api/v1/users")
async def _create_user(stage: Stage) -> Written:
    new = {"email": f"{MARK}@example.org", "password": PASSED, "display_name": f"{MARK} name"}
    reply = await stage.send("POST", "/api/v1/users", stage.admin, json=new)
    return Written(reply, "users.create", f"users/{reply.json()['id']}", stage.admin.id, session_of(stage.admin))


async def _changed(stage: Stage, method: str, document: dict[str, object], below: str = "") -> Written:
    user = await stage.person()
    reply = await stage.send(method, f"/api/v1/users/{user.id}{below}", stage.admin, json=document)
    return Written(reply, "users.change", f"users/{user.id}", stage.admin.id, session_of(stage.admin))


@writes("PUT /api/v1/users/{user_id}")
async def _replace_user(stage: Stage) -> Written:
    document = {"email": f"{MARK}-put@example.com", "display_name": f"{MARK} put", "is_active": True}
    return await _changed(stage, "PUT", document)


@writes("PATCH /api/v1/users/{user_id}")
async def _change_own_address(stage: Stage) -> Written:
    user = await stage.person()
    wish = {"email": f"{MARK}-wish@example.com", "display_name": f"{MARK} other", "current_password": PASSED}
    reply = await stage.send("PATCH", f"/api/v1/users/{user.id}", user, json=wish)
    return Written(reply, "users.change", f"users/{user.id}", user.id, session_of(user), PROVED)


@writes("PUT /api/v1/users/{user_id}/permissions")
async def _set_permissions(stage: Stage) -> Written:
    return await _changed(stage, "PUT", {"permissions": ["items:read"]}, "/permissions")


@writes("DELETE /api/v1/users/{user_id}")
async def _delete_user(stage: Stage) -> Written:
    user = await stage.person()
    reply = await stage.send("DELETE", f"/api/v1/users/{user.id}", stage.admin)
    return Written(reply, "users.delete", f"users/{user.id}", stage.admin.id, session_of(stage.admin))


@writes("POST /api/v1/auth/email-change/confirm")
async def _confirm_address(stage: Stage) -> Written:
    user, email = await stage.person(), f"{MARK}-new@example.com"
    await stage.send("PATCH", f"/api/v1/users/{user.id}", user, json={"email": email, "current_password": PASSED})
    token = await stage.mailed(email)
    reply = await stage.send("POST", f"{AUTH}/email-change/confirm", json={"token": token})
    return Written(reply, "users.confirm_address", f"users/{user.id}", user.id)


def _creating(kept: Kept) -> Act:
    async def act(stage: Stage) -> Written:
        user = await stage.person()
        reply = await stage.send("POST", kept.at, user, json=marked(kept))
        resource = f"{kept.table}/{reply.json()['id']}"
        return Written(reply, f"{kept.table}.create", resource, user.id, session_of(user))

    return act


def _doing(kept: Kept, method: str, verb: str, **more: Any) -> Act:
    async def act(stage: Stage) -> Written:
        user = await stage.person()
        path = (await stage.send("POST", kept.at, user, json=marked(kept))).headers["Location"]
        reply = await stage.send(method, path, user, **more)
        return Written(reply, f"{kept.table}.{verb}", path.removeprefix("/api/v1/"), user.id, session_of(user))

    return act


def writes_of(kept: Kept) -> dict[str, Act]:
    """Those of what owners keep, of whatever domain."""
    return {
        f"POST {kept.at}": _creating(kept),
        f"PUT {kept.one}": _doing(kept, "PUT", "change", json=kept.saying(f"{MARK} put")),
        f"PATCH {kept.one}": _doing(kept, "PATCH", "change", json={kept.texts[0]: f"{MARK} patch"}),
        f"DELETE {kept.one}": _doing(kept, "DELETE", "delete"),
    }


@writes("POST /api/v1/exports")
async def _ask_for_export(stage: Stage) -> Written:
    user = await stage.person()
    reply = await stage.send("POST", "/api/v1/exports", user, json={"format": "csv"})
    return Written(reply, "exports.request", f"exports/{reply.json()['id']}", user.id, session_of(user))


@writes("POST /api/v1/auth/token")
async def _sign_in(stage: Stage) -> Written:
    user = await stage.person()
    form = {"grant_type": "password", "username": user.email, "password": PASSED}
    reply = await stage.send("POST", f"{AUTH}/token", data={**form, "client_id": MARK, "client_secret": MARK})
    session = session_in(reply.json()["access_token"])
    return Written(reply, "sessions.sign_in", f"sessions/{session}", user.id, session, PROVED)


async def _with_refresh_token(stage: Stage, path: str, action: str, **more: Any) -> Written:
    user = await stage.person()
    tokens = await stage.tokens(user.email)
    (body,) = more
    reply = await stage.send("POST", path, **{body: {more[body]: tokens["refresh_token"]}})
    session = session_in(tokens["access_token"])
    return Written(reply, action, f"sessions/{session}", user.id, session)


@writes("POST /api/v1/auth/refresh")
async def _refresh(stage: Stage) -> Written:
    return await _with_refresh_token(stage, f"{AUTH}/refresh", "sessions.refresh", json="refresh_token")


@writes("POST /api/v1/auth/revoke")
async def _revoke(stage: Stage) -> Written:
    return await _with_refresh_token(stage, f"{AUTH}/revoke", "sessions.revoke", data="token")


async def _of_session(stage: Stage, method: str, path: str, action: str = "sessions.end", **more: Any) -> Written:
    user = await stage.person()
    session = session_of(user)
    reply = await stage.send(method, path.replace("SESSION", session), user, **more)
    beside = PROVED if "json" in more else ()
    resource = f"sessions/{session}" if action.startswith("sessions") else f"users/{user.id}"
    return Written(reply, action, resource, user.id, session, beside)


@writes("POST /api/v1/auth/logout")
async def _sign_out(stage: Stage) -> Written:
    return await _of_session(stage, "POST", f"{AUTH}/logout")


@writes("DELETE /api/v1/auth/sessions/{session_id}")
async def _end_session(stage: Stage) -> Written:
    return await _of_session(stage, "DELETE", f"{AUTH}/sessions/SESSION")


@writes("DELETE /api/v1/auth/sessions")
async def _end_sessions(stage: Stage) -> Written:
    return await _of_session(stage, "DELETE", f"{AUTH}/sessions", "users.end_sessions")


@writes("POST /api/v1/auth/password")
async def _change_password(stage: Stage) -> Written:
    wish = {"current_password": PASSED, "new_password": f"{MARK} is another password"}
    return await _of_session(stage, "POST", f"{AUTH}/password", "users.change_password", json=wish)


@writes("POST /api/v1/auth/password-reset")
async def _ask_for_reset(stage: Stage) -> Written:
    reply = await stage.send("POST", f"{AUTH}/password-reset", json={"email": f"{MARK}-nobody@example.com"})
    return Written(reply, "users.ask_reset", None, beside=("sessions.guess",))


@writes("POST /api/v1/auth/password-reset/confirm")
async def _reset_password(stage: Stage) -> Written:
    user = await stage.person()
    await stage.send("POST", f"{AUTH}/password-reset", json={"email": user.email})
    wish = {"token": await stage.mailed(user.email), "new_password": f"{MARK} is a third password"}
    reply = await stage.send("POST", f"{AUTH}/password-reset/confirm", json=wish)
    return Written(reply, "users.reset_password", f"users/{user.id}", user.id)


def routes_that_write(app: FastAPI) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods - READS
    }


async def told(resources: Resources, request_id: str) -> list[tuple[Any, ...]]:
    """Action, resource, actor, session and address of a request's rows, in the order in which they were begun."""
    rows = await run_sql(
        resources,
        "SELECT action, resource, actor::text, session::text, host(address) FROM audit"
        " WHERE request_id = :id ORDER BY attempt",
        id=request_id,
    )
    return [tuple(row) for row in rows]


async def fault(stage: Stage, act: Act) -> str:
    """What a write left untold, told twice or told wrongly; empty where its one row is as it must be."""
    written = await act(stage)
    if not written.reply.is_success:
        return f"it was answered {written.reply.status_code}: {written.reply.text}"
    rows = await told(stage.resources, written.reply.headers["X-Request-ID"])
    wanted = (written.action, written.resource, written.actor, written.session, HERE)
    own = [row for row in rows if row[0] not in written.beside]
    if own != [wanted] or [row[0] for row in rows if row not in own] != list(written.beside):
        return f"{rows} are not {[*written.beside, wanted]}"
    return ""


async def faults(stage: Stage, acts: Mapping[str, Act]) -> dict[str, str]:
    return {route: said for route, act in acts.items() if (said := await fault(stage, act))}


async def leaks(resources: Resources, marks: list[str]) -> list[str]:
    """Columns of rows in which one of these is, as it is or in hexadecimal; the request's id stands for itself."""
    rows = await run_sql(resources, "SELECT to_jsonb(audit) - 'request_id' AS row FROM audit")
    words = [word for mark in marks for word in (mark.lower(), mark.encode().hex())]
    return [
        f"{name}: {value}"
        for (row,) in rows
        for name, value in row.items()
        if any(word in str(value).lower() for word in words)
    ]
