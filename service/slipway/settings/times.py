"""Times that can't hold together, a sentence for each."""

from __future__ import annotations

from slipway.settings import Settings


def time_faults(settings: Settings) -> list[str]:
    """Which settings promise what another one takes back; empty when all can be kept."""
    checks = [*_contradictions(settings), *(_broken_promises(settings) if settings.production else [])]
    return [sentence for broken, sentence in checks if broken]


def _contradictions(settings: Settings) -> list[tuple[bool, str]]:
    deadline = f"SLIPWAY_REQUEST_DEADLINE ({settings.request_deadline:g} s)"
    access = f"SLIPWAY_ACCESS_TOKEN_TTL ({settings.access_token_ttl} s)"
    job = f"SLIPWAY_JOB_TIMEOUT ({settings.job_timeout:g} s)"
    return [
        (
            settings.session_max_lifetime < settings.access_token_ttl,
            f"SLIPWAY_SESSION_MAX_LIFETIME ({settings.session_max_lifetime} s) ends sessions before their first access "
            f"token is over: make it at least {access}.",
        ),
        (
            settings.refresh_token_ttl < settings.access_token_ttl,
            f"SLIPWAY_REFRESH_TOKEN_TTL ({settings.refresh_token_ttl} s) ends sessions before their access token is "
            f"over: make it at least {access}.",
        ),
        (
            settings.refresh_grace >= settings.refresh_token_ttl,
            f"SLIPWAY_REFRESH_GRACE ({settings.refresh_grace:g} s) lets a used refresh token live as long as one that "
            f"wasn't used: make it less than SLIPWAY_REFRESH_TOKEN_TTL ({settings.refresh_token_ttl} s).",
        ),
        (
            settings.token_leeway >= settings.access_token_ttl,
            f"SLIPWAY_TOKEN_LEEWAY ({settings.token_leeway} s) forgives as much as a whole token's life: make it less "
            f"than {access}.",
        ),
        (
            settings.idempotency_ttl <= settings.request_deadline,
            f"SLIPWAY_IDEMPOTENCY_TTL ({settings.idempotency_ttl} s) forgets a key while its request may still run: "
            f"make it more than {deadline}.",
        ),
        (
            settings.redis_timeout >= settings.request_deadline,
            f"SLIPWAY_REDIS_TIMEOUT ({settings.redis_timeout:g} s) lets a request wait for Redis until it is over: "
            f"make it less than {deadline}.",
        ),
        (
            settings.smtp_timeout >= settings.job_timeout,
            f"SLIPWAY_SMTP_TIMEOUT ({settings.smtp_timeout:g} s) is never reached: make it less than {job}.",
        ),
    ]


def _broken_promises(settings: Settings) -> list[tuple[bool, str]]:
    """What is a choice where one tries things out, and fails requests in production."""
    deadline = f"SLIPWAY_REQUEST_DEADLINE ({settings.request_deadline:g} s)"
    return [
        (
            settings.shutdown_timeout < settings.request_deadline,
            f"SLIPWAY_SHUTDOWN_TIMEOUT ({settings.shutdown_timeout:g} s) ends requests that may take longer: make it "
            f"at least {deadline}.",
        ),
        (
            settings.database_pool_timeout >= settings.request_deadline,
            f"SLIPWAY_DATABASE_POOL_TIMEOUT ({settings.database_pool_timeout:g} s) lets a request wait for a "
            f"connection until it is over: make it less than {deadline}.",
        ),
        (
            settings.database_connect_timeout >= settings.request_deadline,
            f"SLIPWAY_DATABASE_CONNECT_TIMEOUT ({settings.database_connect_timeout:g} s) lets a request wait for a "
            f"new connection until it is over: make it less than {deadline}.",
        ),
    ]
