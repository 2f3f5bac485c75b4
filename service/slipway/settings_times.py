"""Times that can't hold together, a sentence for each."""

from __future__ import annotations

from slipway.settings import Settings


def time_faults(settings: Settings) -> list[str]:
    """Which settings promise what another one takes back; empty when all can be kept."""
    checks: list[tuple[bool, str]] = [
        (
            settings.session_max_lifetime < settings.access_token_ttl,
            f"SLIPWAY_SESSION_MAX_LIFETIME ({settings.session_max_lifetime} s) ends sessions before their first access "
            f"token is over: make it at least SLIPWAY_ACCESS_TOKEN_TTL ({settings.access_token_ttl} s).",
        ),
    ]
    return [sentence for broken, sentence in checks if broken]
