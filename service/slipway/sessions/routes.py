"""`/api/v1/auth`, and under `/.well-known` what others need to check our tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any
from uuid import UUID

import pydantic
from fastapi import Form, Query, Request, Response

from slipway.auth.dependencies import CurrentUser
from slipway.auth.lifetimes import Lifetimes
from slipway.auth.permissions import scopes
from slipway.auth.tokens import REQUIRED_CLAIMS
from slipway.http.etags import content_tag
from slipway.http.paging import Page, PageQuery, build_page
from slipway.http.problems import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    ValidationError,
    responses,
    validation_details,
)
from slipway.http.routing import domain_router
from slipway.sessions import queries, service
from slipway.sessions.models import Session
from slipway.sessions.oauth import (
    NOT_STORED,
    InvalidGrantError,
    InvalidRequestError,
    UnsupportedGrantTypeError,
    missing,
    require_once,
    told_to_oauth_clients,
)
from slipway.sessions.parts import SessionParts, parts_of
from slipway.sessions.refresh import Grant, refresh
from slipway.sessions.schemas import (
    Accepted,
    Discovery,
    PasswordChange,
    PasswordResetConfirm,
    PasswordResetRequest,
    RefreshRequest,
    RevokeForm,
    SessionOut,
    SignInForm,
    TokenForm,
    TokenReply,
)
from slipway.sessions.service import Device
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.telemetry.objectives import SloClass, counts_as

USER_AGENT_LENGTH = 256

# A rotation waits until caches of this age are over; a revoked key is gone from proxies as soon.
CACHE_FOR_A_MINUTE = {"Cache-Control": "public, max-age=60"}

router = domain_router("/api/v1/auth", "auth")
discovery = domain_router("/.well-known", "discovery")


def _device(request: Request) -> Device:
    agent = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    return Device(_address(request), agent[:USER_AGENT_LENGTH])


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _token_reply(parts: SessionParts, grant: Grant, response: Response) -> TokenReply:
    response.headers.update(NOT_STORED)
    return TokenReply(
        access_token=parts.tokens.issue(grant.user_id, grant.session_id, grant.permissions, grant.left),
        refresh_token=grant.refresh_token,
        expires_in=parts.tokens.expires_in(grant.left),
        scope=" ".join(sorted(grant.permissions)),
    )


@router.post(
    "/token",
    summary="Sign in, or refresh",
    responses=responses(BadRequestError, InvalidGrantError, AuthenticationError),
)
@counts_as(SloClass.SIGN_IN)
async def sign_in(request: Request, response: Response, form: Annotated[TokenForm, Form()]) -> TokenReply:
    """OAuth 2.0's token endpoint. Wrong passwords are answered ever more slowly: 429 with `Retry-After`.

    A refresh token is used and the next one given. Using it again later ends the session: somebody else has it.
    """
    require_once(await request.form(), TokenForm)
    parts = parts_of(request)
    if form.grant_type is None:
        grant = await _sign_in(request, form)
    else:
        with told_to_oauth_clients():
            grant = await _granted(request, form)
    return _token_reply(parts, grant, response)


async def _granted(request: Request, form: TokenForm) -> Grant:
    if form.grant_type == "password":
        return await _sign_in(request, form)
    if form.grant_type != "refresh_token":
        raise UnsupportedGrantTypeError
    if form.refresh_token is None:
        raise missing("refresh_token")
    scope = None if form.scope is None else frozenset(form.scope.split())
    return await refresh(parts_of(request), form.refresh_token.get_secret_value(), scope)


async def _sign_in(request: Request, form: TokenForm) -> Grant:
    given = form.model_dump(include=set(SignInForm.model_fields), exclude_none=True)
    try:
        wanted = SignInForm.model_validate(given)
    except pydantic.ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise ValidationError(details=validation_details(faults, "body")) from None
    password = wanted.password.get_secret_value()
    return await service.sign_in(parts_of(request), wanted.username.strip(), password, _device(request))


@router.post(
    "/revoke",
    summary="Revoke a token",
    response_class=Response,
    responses={200: {"description": "It is not valid now."}, **responses(BadRequestError, InvalidRequestError)},
)
async def revoke_token(request: Request, form: Annotated[RevokeForm, Form()]) -> Response:
    """OAuth 2.0's revocation: whoever has an access or a refresh token may end its session, and so all tokens of it.

    A token that is unknown, or over already, is answered alike. Access tokens are refused everywhere within a second.
    """
    require_once(await request.form(), RevokeForm)
    if form.token is None:
        raise missing("token")
    await service.revoke_token(parts_of(request), form.token.get_secret_value())
    return Response(headers=NOT_STORED)


@router.post("/refresh", summary="Get the next access token", responses=responses(AuthenticationError))
@counts_as(SloClass.SIGN_IN)
async def refresh_session(request: Request, response: Response, body: RefreshRequest) -> TokenReply:
    """Uses the refresh token and gives the next one. Using it again later ends the session: somebody else has it.

    For a few seconds a repeat gets the same reply's tokens again, because a reply may get lost.
    """
    parts = parts_of(request)
    grant = await refresh(parts, body.refresh_token.get_secret_value())
    return _token_reply(parts, grant, response)


@router.post("/logout", status_code=204, summary="Sign out", responses=responses(AuthenticationError))
async def sign_out(request: Request, user: CurrentUser) -> None:
    """Ends this session: its tokens are refused everywhere within a second."""

    async def work(transaction: Transaction) -> Sequence[UUID]:
        transaction.entry.resource = user.session_id
        await queries.revoke_session(transaction, user.session_id, "signed_out")
        return [user.session_id]

    await _end(request, service.END, work)


@router.get("/sessions", summary="List sessions", responses=responses(AuthenticationError, NotFoundError))
async def list_sessions(
    request: Request,
    user: CurrentUser,
    wanted: PageQuery,
    user_id: Annotated[UUID | None, Query(description="Whose; others' only for administrators.")] = None,
) -> Page[SessionOut]:
    """Where one is signed in, oldest first."""
    parts = parts_of(request)
    lifetimes, database = Lifetimes.of(parts.settings), parts.database
    owner = user.owner(user_id)
    rows = await database.read(lambda session: queries.page_of_live(session, owner, wanted, lifetimes))
    total = await wanted.total(
        rows, lambda: database.read(lambda session: queries.count_live(session, owner, lifetimes))
    )
    return build_page(rows, wanted, total, lambda row: _shown(row, user.session_id, lifetimes))


def _shown(row: Session, current: UUID, lifetimes: Lifetimes) -> SessionOut:
    return SessionOut(
        id=row.id,
        user_id=row.user_id,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=min(row.expires_at, row.created_at + lifetimes.longest),
        user_agent=row.user_agent,
        address=row.address,
        current=row.id == current,
    )


@router.delete(
    "/sessions", status_code=204, summary="End all sessions", responses=responses(AuthenticationError, NotFoundError)
)
async def end_sessions(
    request: Request,
    user: CurrentUser,
    user_id: Annotated[UUID | None, Query(description="Whose; others' only for administrators.")] = None,
    keep_current: Annotated[bool, Query(description="Leaves the session of this request.")] = False,  # noqa: FBT002
) -> None:
    """One's own, this one too, or as an administrator anyone's: their tokens are refused everywhere within a second."""
    keep, owner = user.session_id if keep_current else None, user.owner(user_id)
    await _end(request, service.END_ALL, lambda transaction: service.end_sessions(transaction, user, owner, keep=keep))


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End a session",
    responses=responses(AuthenticationError, NotFoundError),
)
async def end_session(request: Request, session_id: UUID, user: CurrentUser) -> None:
    """One's own, or as an administrator anyone's; otherwise 404."""
    lifetimes = Lifetimes.of(parts_of(request).settings)

    async def work(transaction: Transaction) -> Sequence[UUID]:
        await service.end_session(transaction, user, session_id, lifetimes)
        return [session_id]

    await _end(request, service.END, work)


async def _end(request: Request, action: Action, work: Callable[[Transaction], Awaitable[Sequence[UUID]]]) -> None:
    """End those sessions that `work` names, here at once."""
    parts = parts_of(request)
    parts.principals.forget(await parts.database.unit(action, work))


@router.post(
    "/password",
    status_code=204,
    summary="Change the password",
    responses=responses(AuthenticationError, ConflictError),
)
@counts_as(SloClass.SIGN_IN)
async def change_password(request: Request, body: PasswordChange, user: CurrentUser) -> None:
    """Ends the other sessions; this one goes on."""
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    await service.change_password(parts_of(request), user, current, new, _address(request))


@router.post("/password-reset", status_code=202, summary="Forgot the password")
async def request_password_reset(request: Request, body: PasswordResetRequest) -> Accepted:
    """Sends a link to the address, if it belongs to an account; the reply is the same if it doesn't."""
    await service.request_password_reset(parts_of(request), body.email, _address(request))
    return Accepted(message="If that is the address of an account, a mail is on its way.")


@router.post("/password-reset/confirm", status_code=204, summary="Set a new password by the mailed link")
@counts_as(SloClass.SIGN_IN)
async def confirm_password_reset(request: Request, body: PasswordResetConfirm) -> None:
    """The token works once. Ends all sessions."""
    token, new = body.token.get_secret_value(), body.new_password.get_secret_value()
    await service.confirm_password_reset(parts_of(request), token, new)


_JWKS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "2f1c"}]}}}}
}


@discovery.get("/jwks.json", summary="Public keys", response_class=Response, responses=_JWKS)
async def read_jwks(request: Request) -> Response:
    """The keys that tokens are signed with, or will be next, as a JWK Set."""
    return _public(parts_of(request).keys.current.public_jwks())


def _public(document: bytes) -> Response:
    return Response(document, 200, {**CACHE_FOR_A_MINUTE, "ETag": content_tag(document)}, "application/json")


@discovery.get("/openid-configuration", summary="Where the keys are", response_model=Discovery)
async def read_configuration(request: Request) -> Response:
    """Metadata for proxies; the issuer is the one of the settings, whatever host was asked."""
    parts = parts_of(request)
    issuer = parts.settings.issuer
    metadata = Discovery(
        issuer=issuer,
        jwks_uri=f"{issuer}/.well-known/jwks.json",
        token_endpoint=f"{issuer}{router.prefix}/token",
        revocation_endpoint=f"{issuer}{router.prefix}/revoke",
        grant_types_supported=["password", "refresh_token"],
        response_types_supported=[],  # there is no authorization endpoint; OpenID Connect asks for the member
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=parts.keys.current.algorithms(),
        token_endpoint_auth_methods_supported=["none"],
        revocation_endpoint_auth_methods_supported=["none"],
        scopes_supported=list(scopes()),
        claims_supported=REQUIRED_CLAIMS,
    )
    return _public(metadata.model_dump_json().encode())
