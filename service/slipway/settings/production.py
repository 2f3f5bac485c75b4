"""What production refuses, a sentence for each reason."""

from __future__ import annotations

from pydantic import SecretStr

from slipway.settings import Settings
from slipway.urls.server_url import ServerUrl, UrlError

DEMO_SECRETS = frozenset({"slipway", "slipway-demo", "demo", "postgres", "password", "changeme", "admin", "secret"})
"""Passwords that documentation and demo values use; production refuses each of them."""


def production_faults(settings: Settings) -> list[str]:
    """Why these settings are unsafe in production, a sentence each; empty when they are fine."""
    checks: list[tuple[bool, str]] = [
        (settings.debug, "SLIPWAY_DEBUG must be off in production."),
        (
            settings.database_url is None and settings.database_credentials_dir is None,
            "Production needs a database: set SLIPWAY_DATABASE_CREDENTIALS_DIR or SLIPWAY_DATABASE_URL "
            "(the embedded one is for trying out).",
        ),
        (
            _has_demo_password(settings.database_url),
            "SLIPWAY_DATABASE_URL carries a demo password; give the service a login of its own.",
        ),
        (_has_demo_password(settings.redis_url), "SLIPWAY_REDIS_URL carries a demo password; choose another."),
        (_has_demo_password(settings.smtp_url), "SLIPWAY_SMTP_URL carries a demo password; choose another."),
        (
            settings.signing_keys_dir is None,
            "Production needs signing keys: set SLIPWAY_SIGNING_KEYS_DIR to the mounted key folder.",
        ),
        (
            settings.cors_credentials and "*" in settings.cors_origins,
            "SLIPWAY_CORS_ORIGINS=* with SLIPWAY_CORS_CREDENTIALS lets any site act for your users: name the origins.",
        ),
        (
            not settings.issuer.startswith("https://"),
            "SLIPWAY_ISSUER must be the public https:// address of the API.",
        ),
        (
            not _is_page_for_tokens(settings.password_reset_url),
            "SLIPWAY_PASSWORD_RESET_URL must be the public https:// address of your page, with {token} in it.",
        ),
        (
            settings.email_change_url is not None and not _is_page_for_tokens(settings.email_change_url),
            "SLIPWAY_EMAIL_CHANGE_URL must be the public https:// address of your page, with {token} in it.",
        ),
        (
            not 900 <= settings.access_token_ttl <= 1800,  # noqa: PLR2004 - the bounds are the rule itself
            "SLIPWAY_ACCESS_TOKEN_TTL must lie between 900 and 1800 seconds in production.",
        ),
    ]
    return [sentence for broken, sentence in checks if broken]


def is_demo_secret(secret: str | None) -> bool:
    """Whether a password is one that documentation and demo values use."""
    return secret is not None and secret.lower() in DEMO_SECRETS


def _is_page_for_tokens(url: str) -> bool:
    return url.startswith("https://") and "{token}" in url


def _has_demo_password(url: SecretStr | None) -> bool:
    """What can't be read is told where it is opened."""
    if url is None:
        return False
    text = url.get_secret_value()
    try:
        read = ServerUrl.read(text)
        given = {read.password, *(value for name, value in read.parameters() if name == "password")}
    except UrlError:
        return False
    return any(map(is_demo_secret, given))
