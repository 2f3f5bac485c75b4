"""`/api/v1/users`."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response, Security

from slipway.auth.dependencies import Admin, CurrentUser, Principal, lacking, no_such_user
from slipway.auth.models import User
from slipway.auth.permissions import ADMIN
from slipway.auth.principals import SessionUser
from slipway.http.fields import CleanText
from slipway.http.idempotency import IdempotencyKeyHeader, claim_key, key_of, remember
from slipway.http.openapi import versioned
from slipway.http.paging import Page, PageQuery, build_page, cached_count
from slipway.http.preconditions import IfMatch, Preconditions, etag
from slipway.http.problems import (
    AuthenticationError,
    AuthorizationError,
    ConflictError,
    NotFoundError,
    PreconditionFailedError,
    responses,
)
from slipway.http.routing import domain_router
from slipway.sessions.proof import prove_password
from slipway.storage.unit import Transaction
from slipway.telemetry.objectives import SloClass, counts_as
from slipway.users import email_changes, queries, service
from slipway.users.parts import UserParts, parts_of
from slipway.users.queries import Known
from slipway.users.schemas import EmailChangeConfirm, Permissions, UserCreate, UserOut, UserPatch, UserReplace
from slipway.users.service import UserChange

TOTAL = "users:total"

router = domain_router("/api/v1/users", "users", AuthenticationError)
confirmation = domain_router("/api/v1/auth", "auth")


def _reply(user: User | Known, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = UserOut.model_validate(user).model_dump_json()
    return Response(body, status, {"ETag": etag(service.shown_version(user)), **(headers or {})}, "application/json")


async def _forget(parts: UserParts, user_id: UUID) -> None:
    parts.principals.forget_user(user_id)
    await parts.cache.invalidate(TOTAL)


@router.get("/me", summary="Who am I?", response_model=UserOut, responses=versioned(200))
async def read_me(user: CurrentUser) -> Response:
    """The signed-in user, at most a second old."""
    return Response(_rendered(user.user), 200, {"ETag": etag(service.shown_version(user.user))}, "application/json")


@lru_cache(maxsize=1024)
def _rendered(user: SessionUser) -> bytes:
    """The JSON of a user; made once for as long as nothing of them changes, because it is asked for the most."""
    return UserOut.model_validate(user).model_dump_json().encode()


@router.get("", summary="List users", responses=responses(AuthorizationError))
@counts_as(SloClass.BULK)
async def list_users(
    request: Request,
    _: Admin,
    wanted: PageQuery,
    email: Annotated[
        CleanText | None,
        Query(max_length=254, description="Part of the address, however it is written.", examples=["ada@"]),
    ] = None,
) -> Page[UserOut]:
    """Everybody, oldest first; for administrators."""
    parts = parts_of(request)
    rows = await parts.database.read(lambda session: queries.page(session, wanted, email))
    total = await wanted.total(rows, lambda: _count(parts, email))
    return build_page(rows, wanted, total, UserOut.model_validate)


async def _count(parts: UserParts, email: str | None) -> int:
    async def count() -> int:
        return await parts.database.read(lambda session: queries.count(session, email))

    return await count() if email else await cached_count(parts.cache, TOTAL, count)


_LINKS = {"read": ("read_user", "user_id"), "change": ("patch_user", "user_id"), "delete": ("delete_user", "user_id")}


@router.post(
    "",
    status_code=201,
    summary="Create a user",
    response_model=UserOut,
    responses=responses(AuthorizationError, ConflictError) | versioned(201, links=_LINKS),
)
@counts_as(SloClass.SIGN_IN)
async def create_user(request: Request, new: UserCreate, actor: Admin, key: IdempotencyKeyHeader = None) -> Response:
    """For administrators. A welcome mail goes out by the queue."""
    parts = parts_of(request)
    # Hashing first: it may wait, and must not hold a connection and the key's row meanwhile. A repeat pays for it too.
    password_hash = await parts.passwords.hash(new.password.get_secret_value())
    once = await key_of(request, actor.id, key)

    async def work(transaction: Transaction) -> Response:
        await claim_key(transaction, once)
        user = await service.create(transaction, new, password_hash)
        mail = {"to": user.email, "template": "welcome", "values": {"name": user.display_name}}
        await parts.queue.enqueue(transaction, "send_mail", mail)
        return await remember(transaction, once, _reply(user, 201, {"Location": f"/api/v1/users/{user.id}"}))

    async def then(_: Response) -> None:
        await parts.cache.invalidate(TOTAL)

    return await parts.database.unit(service.CREATE, work, then=then)


_READ = responses(NotFoundError) | versioned(200)


@router.get("/{user_id}", summary="Read a user", response_model=UserOut, responses=_READ)
async def read_user(request: Request, user_id: UUID, actor: CurrentUser) -> Response:
    """Oneself; anyone for administrators; otherwise 404."""
    service.require_visible(actor, user_id)
    user = await parts_of(request).database.read(lambda session: queries.get(session, user_id))
    if user is None:
        raise no_such_user()
    return _reply(user)


_WRITE_ERRORS = responses(AuthorizationError, NotFoundError, ConflictError, PreconditionFailedError)
_WRITE = _WRITE_ERRORS | versioned(200)


async def _change(
    request: Request, actor: CurrentUser, user_id: UUID, wanted: UserChange, matching: Preconditions
) -> Response:
    parts = parts_of(request)

    async def work(transaction: Transaction) -> Response:
        changed = await service.change(transaction, actor, user_id, wanted, matching)
        changed = await service.follow_address(transaction, parts, changed)
        changed = await service.follow_switch(transaction, parts.throttle, changed)
        return _reply(changed.user, 202 if changed.asked_for and not changed.is_applied else 200)

    return await parts.database.unit(service.CHANGE, work, then=lambda _: _forget(parts, user_id))


async def _change_profile(
    request: Request,
    actor: CurrentUser,
    user_id: UUID,
    new: UserReplace | UserPatch,
    matching: Preconditions,
) -> Response:
    wanted = UserChange(new.email, new.display_name, new.is_active, whole=isinstance(new, UserReplace))
    password = new.current_password
    if password is None or user_id != actor.id or wanted.email in {None, actor.user.email}:
        return await _change(request, actor, user_id, wanted, matching)
    # Before the unit of work: hashing may wait, and must not hold a connection meanwhile.
    parts = parts_of(request)
    address = request.client.host if request.client else ""
    await prove_password(parts, actor, password.get_secret_value(), address)
    return await _change(request, actor, user_id, replace(wanted, by_password=True), matching)


@router.put("/{user_id}", summary="Replace a user", response_model=UserOut, responses=_WRITE)
async def replace_user(
    request: Request, user_id: UUID, new: UserReplace, actor: CurrentUser, matching: IfMatch
) -> Response:
    """Oneself, or anyone for administrators; otherwise 404.

    One's own address needs `current_password`, and changes when the link that is mailed to the new one is opened:
    until then the reply shows it as `pending_email`.
    """
    return await _change_profile(request, actor, user_id, new, matching)


@router.patch("/{user_id}", summary="Change a user", response_model=UserOut, responses=_WRITE | versioned(202))
async def patch_user(
    request: Request, user_id: UUID, new: UserPatch, actor: CurrentUser, matching: IfMatch
) -> Response:
    """Oneself, or anyone for administrators; otherwise 404.

    One's own address needs `current_password`, and changes when the link that is mailed to the new one is opened:
    until then the reply shows it as `pending_email`, with status 202 if nothing else was to be changed. Asking again
    takes the place of an earlier wish; naming the address that is, ends it.
    """
    return await _change_profile(request, actor, user_id, new, matching)


async def _administering(user_id: UUID, actor: CurrentUser) -> Principal:
    """Who isn't an administrator may not do it to themselves, and sees nobody else to do it to."""
    service.require_visible(actor, user_id)
    if ADMIN not in actor.permissions:
        raise lacking(ADMIN)
    return actor


Administering = Annotated[Principal, Security(_administering, scopes=[ADMIN])]


@router.put("/{user_id}/permissions", summary="Set permissions", response_model=UserOut, responses=_WRITE)
async def set_permissions(
    request: Request, user_id: UUID, new: Permissions, actor: Administering, matching: IfMatch
) -> Response:
    """For administrators; takes effect on tokens in use within a second. The last administrator stays one."""
    return await _change(request, actor, user_id, UserChange(permissions=new.permissions), matching)


@router.delete("/{user_id}", status_code=204, summary="Delete a user", responses=_WRITE_ERRORS)
async def delete_user(request: Request, user_id: UUID, _: Administering, matching: IfMatch) -> None:
    """For administrators. Ends the sessions and deletes all that is theirs."""
    parts = parts_of(request)
    await parts.database.unit(
        service.DELETE,
        lambda transaction: service.remove(transaction, user_id, matching),
        then=lambda _: _forget(parts, user_id),
    )


@confirmation.post("/email-change/confirm", status_code=204, summary="Take a new address by the mailed link")
async def confirm_email_change(request: Request, body: EmailChangeConfirm) -> None:
    """The token works once, until another address is asked for or the password changes. Ends open reset links."""
    await email_changes.confirm(parts_of(request), body.token.get_secret_value())
