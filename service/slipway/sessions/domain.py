"""What others must know of sessions."""

from __future__ import annotations

from slipway.domain import Domain
from slipway.jobs.expiries import Below, Expiry
from slipway.sessions.attempts import FORGET_ATTEMPTS_AFTER
from slipway.sessions.routes import discovery, router
from slipway.settings import Settings

_TOKENS = Below("refresh_tokens", "session_id")


def _login_memory(settings: Settings) -> int:
    return max(int(FORGET_ATTEMPTS_AFTER.total_seconds()), settings.login_backoff_max)


DOMAIN = Domain(
    tags={
        "auth": "Sign-in, sessions and passwords.",
        "discovery": "What proxies need to check our tokens.",
    },
    routers=(router, discovery),
    expiries=(
        Expiry("sessions", "expires_at", "expires_at < now()", below=_TOKENS),
        Expiry(
            "sessions",
            "created_at",
            "created_at < now() - make_interval(secs => :lifetime)",
            lifetime=lambda settings: settings.session_max_lifetime,
            below=_TOKENS,
        ),
        # A used token is kept as long as one could come back, to recognise that; the newest one of a session isn't
        # used.
        Expiry(
            "refresh_tokens",
            "used_at",
            "used_at < now() - make_interval(secs => :lifetime)",
            lifetime=lambda settings: settings.refresh_token_ttl,
        ),
        Expiry("password_resets", "expires_at", "expires_at < now()"),
        Expiry(
            "login_attempts",
            "updated_at",
            "updated_at < now() - make_interval(secs => :lifetime) AND blocked_until < now()",
            lifetime=_login_memory,
        ),
    ),
)
