"""How long a session lives: for so long without use, and for so long at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from slipway.settings import Settings


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """`unused` counts from the last refresh, `longest` from the sign-in. What comes first ends the session."""

    unused: timedelta
    longest: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Lifetimes:
        return cls(timedelta(seconds=settings.refresh_token_ttl), timedelta(seconds=settings.session_max_lifetime))

    @property
    def first(self) -> timedelta:
        """What a new session has, unless it is used."""
        return min(self.unused, self.longest)
