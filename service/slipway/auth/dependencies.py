"""Who is asking, for routes: `CurrentUser`, `Admin`, `allowed(...)`."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request, Security
from fastapi.security import OAuth2PasswordBearer
from prometheus_client import Counter

from slipway.auth.permissions import ADMIN
from slipway.auth.principals import SessionUser
from slipway.auth.tokens import TokenClaims
from slipway.http.problems import (
    INVALID_TOKEN,
    AuthenticationError,
    AuthorizationError,
    NotFoundError,
    SessionEndedError,
)
from slipway.telemetry.http_metrics import SCOPE_KEY
from slipway.telemetry.registry import REGISTRY

TOKEN = "/api/v1/auth/token"  # noqa: S105 - an address

REFUSED = Counter(
    "slipway_session_rejections_total",
    "Requests with a valid token whose session has ended or whose user is gone.",
    registry=REGISTRY,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `permissions` are those in force, in the token and in the row; `user.permissions` are the row's."""

    user: SessionUser
    permissions: frozenset[str]
    claims: TokenClaims

    @property
    def id(self) -> UUID:
        return self.user.id

    @property
    def session_id(self) -> UUID:
        return self.user.session_id

    def may_see(self, owner_id: UUID) -> bool:
        """One's own is seen, and by administrators anyone's. For others there is no such thing: 404, whatever is."""
        return owner_id == self.id or ADMIN in self.permissions

    @property
    def restricted_to(self) -> UUID | None:
        """The same for a query: whose rows there are; None for everybody's. What isn't there is never locked either."""
        return None if ADMIN in self.permissions else self.id

    def owner(self, wanted: UUID | None) -> UUID:
        """Whose things a request is about that may name a user. Raises NotFoundError."""
        if wanted is None or self.may_see(wanted):
            return wanted or self.id
        raise no_such_user()


def lacking(permission: str) -> AuthorizationError:
    return AuthorizationError(f"This needs the permission {permission}.")


def no_such_user() -> NotFoundError:
    """The one answer about a user who isn't there, or isn't the asker's to see."""
    return NotFoundError("There is no such user.")


class SignedInUser(OAuth2PasswordBearer):
    """A dependency that is the OpenAPI security scheme too: one call a request does both."""

    def __init__(self, permission: str | None = None) -> None:
        super().__init__(tokenUrl=TOKEN, refreshUrl=TOKEN, scheme_name="Token", auto_error=False)
        self._permission = permission

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Raises AuthenticationError (401) and, where a permission is asked for, AuthorizationError (403)."""
        scope = request.scope
        resources = scope["app"].state.resources
        claims = claims_of(scope, resources)
        user: SessionUser | None = resources.principals.peek(claims.session_id)
        if user is None:
            user = await resources.principals.get(claims.session_id)
        if user is None or user.id != claims.user_id:
            REFUSED.inc()
            raise SessionEndedError
        permissions = claims.permissions & user.permissions
        if self._permission is not None and self._permission not in permissions:
            raise lacking(self._permission)
        return Principal(user, permissions, claims)


def claims_of(scope: MutableMapping[str, Any], resources: Any) -> TokenClaims:
    """What the edge found out; without an edge, what the Authorization header says. Raises AuthenticationError."""
    exchange = scope.get(SCOPE_KEY)
    claims: TokenClaims | None = exchange.claims if exchange is not None else None
    if claims is not None:
        return claims
    token = bearer_token(scope["headers"])
    if token is None:
        raise AuthenticationError
    if exchange is None:
        claims = resources.tokens.identify(token)
    if claims is None:  # the edge has looked at this very token: once is enough, and counted once
        raise AuthenticationError(
            "This access token is not valid: refresh it or sign in again.", challenge=INVALID_TOKEN
        )
    return claims


def bearer_token(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The token of the first Authorization header, whose scheme's case doesn't matter; None where it has none."""
    for name, value in headers:
        if name == b"authorization":
            return value[7:].strip().decode("latin-1") if value[:7].lower() == b"bearer " else None
    return None


_signed_in = SignedInUser()
_permitted: dict[str, SignedInUser] = {}

CurrentUser = Annotated[Principal, Security(_signed_in)]


def allowed(permission: str) -> Any:
    """Refuses whoever lacks it, and says so in the document; for `Annotated[Principal, …]`."""
    return Security(_permitted.setdefault(permission, SignedInUser(permission)), scopes=[permission])


Admin = Annotated[Principal, allowed(ADMIN)]
