"""Access tokens: signed JWTs, verified once and then known by their digest until they expire.

Failure policy: whatever is wrong with a token, `identify` answers None and counts a reason; it never raises.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from time import time
from types import MappingProxyType
from typing import Any
from uuid import UUID

import jwt
from prometheus_client import Counter

from slipway.auth.keys import Key, KeyStore
from slipway.settings import Settings
from slipway.storage.models import new_id
from slipway.telemetry.registry import REGISTRY

MAX_TOKEN_LENGTH = 8192
CACHE_SIZE = 10_000
TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, no secret
REQUIRED_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti", "scope"]

REASONS = MappingProxyType(
    {
        jwt.ExpiredSignatureError: "expired",
        jwt.ImmatureSignatureError: "not_yet_valid",
        jwt.InvalidIssuerError: "wrong_issuer",
        jwt.InvalidAudienceError: "wrong_audience",
        jwt.MissingRequiredClaimError: "missing_claim",
        jwt.InvalidAlgorithmError: "wrong_algorithm",
        jwt.InvalidSignatureError: "bad_signature",
    }
)

REJECTIONS = Counter(
    "slipway_token_rejections_total", "Access tokens that were not accepted.", ("reason",), registry=REGISTRY
)

logger = logging.getLogger("slipway.tokens")


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a verified token says. `expires_at` is seconds since the epoch."""

    subject: str
    user_id: UUID
    session_id: UUID
    permissions: frozenset[str]
    expires_at: float


class TokenRejectedError(Exception):
    """A token is not accepted; `reason` is one of a few fixed words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tokens:
    """Issues and verifies access tokens with the keys in force."""

    def __init__(self, settings: Settings, keystore: KeyStore) -> None:
        self._issuer = settings.issuer
        self._audience = settings.audience
        self._lifetime = settings.access_token_ttl
        self._leeway = settings.token_leeway
        self._keystore = keystore
        self._verified: OrderedDict[bytes, TokenClaims] = OrderedDict()
        # A key that was taken out must not live on in what it signed.
        keystore.on_change(self._verified.clear)

    def issue(
        self, user_id: UUID, session_id: UUID, permissions: Collection[str], left: timedelta = timedelta.max
    ) -> str:
        """A token for one session that still lives for `left`, signed with the key that signs now."""
        now = int(time())
        key = self._keystore.current.signing
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": now,
            "nbf": now,
            "exp": now + self.expires_in(left),
            "jti": new_id().hex,
            "scope": " ".join(sorted(permissions)),
        }
        return jwt.encode(claims, key.private, key.algorithm, {"kid": key.id, "typ": TOKEN_TYPE})

    def expires_in(self, left: timedelta) -> int:
        """Seconds until a token made now ends: none says that it outlasts its session, which has `left`."""
        return min(self._lifetime, int(left.total_seconds()))

    def identify(self, token: str) -> TokenClaims | None:
        """Whose token this is; None when it isn't valid now."""
        try:
            digest = sha256(token.encode()).digest()
            claims = self._verified.get(digest)
            if claims is None:
                claims = self.verify(token)
                self._remember(digest, claims)
            elif time() >= claims.expires_at + self._leeway:
                del self._verified[digest]
                raise TokenRejectedError("expired")  # noqa: TRY301 - one place counts every rejection
        except (TokenRejectedError, UnicodeEncodeError) as error:
            reason = error.reason if isinstance(error, TokenRejectedError) else "malformed"
            REJECTIONS.labels(reason).inc()
            logger.debug("A token was rejected.", extra={"reason": reason})
            return None
        return claims

    def claims(self, token: str) -> TokenClaims | None:
        """The same for a token that may as well be of another kind: uncounted, and not remembered."""
        try:
            return self.verify(token)
        except TokenRejectedError:
            return None

    def verify(self, token: str) -> TokenClaims:
        """Check a token's signature and claims, without the cache. Raises TokenRejectedError."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenRejectedError("too_large")
        try:
            payload = self._decode(token, self._key_of(token))
            return _claims(payload)
        except jwt.PyJWTError as error:
            raise TokenRejectedError(REASONS.get(type(error), "malformed")) from None
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise TokenRejectedError("malformed") from None

    def _key_of(self, token: str) -> Key:
        header = jwt.get_unverified_header(token)
        key = self._keystore.current.keys.get(str(header.get("kid")))
        if key is None:
            raise TokenRejectedError("unknown_key")
        # Refresh, identity or foreign tokens signed with the same key are no access tokens (RFC 9068, section 4).
        if str(header.get("typ")).lower().removeprefix("application/") != TOKEN_TYPE:
            raise TokenRejectedError("wrong_type")
        return key

    def _decode(self, token: str, key: Key) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.public,
            [key.algorithm],
            {"require": REQUIRED_CLAIMS, "strict_aud": True},
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
        )

    def _remember(self, digest: bytes, claims: TokenClaims) -> None:
        # Oldest first out: a hit then costs no bookkeeping, and tokens leave in about the order they expire anyway.
        if len(self._verified) >= CACHE_SIZE:
            self._verified.popitem(last=False)
        self._verified[digest] = claims


def _claims(payload: dict[str, Any]) -> TokenClaims:
    if not isinstance(payload["scope"], str):
        raise TokenRejectedError("malformed")
    return TokenClaims(
        subject=payload["sub"],
        user_id=UUID(payload["sub"]),
        session_id=UUID(payload["sid"]),
        permissions=frozenset(payload["scope"].split()),
        expires_at=float(int(payload["exp"])),
    )
