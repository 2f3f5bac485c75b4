"""Parties outside that check Slipway's tokens by its published keys, as a gateway does.

Each keeps the keys for its cache's time and never asks earlier, not even for an id that it doesn't know. So a key that
signs before every such cache can have learned it is found out, and so is one that is dropped while its tokens live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

AUDIENCE = "slipway"
LAST_MOMENT = 0.5
"""Seconds before its end in which a token isn't checked any more: it may expire on the way."""


@dataclass(frozen=True, slots=True)
class Token:
    """As its own claims tell; `expires` in seconds since the epoch."""

    text: str = field(repr=False)
    key: str = ""
    expires: float = 0.0

    @classmethod
    def read(cls, text: str) -> Token:
        """Raises jwt.InvalidTokenError for what is no token."""
        key = str(jwt.get_unverified_header(text).get("kid"))
        claims = jwt.decode(text, options={"verify_signature": False})
        return cls(text, key, float(claims["exp"]))


class Validator:
    """One such party; `first` is when it asks for the first time. Times in seconds."""

    def __init__(self, cache: float, first: float) -> None:
        self._cache = cache
        self._due = first
        self._keys: dict[str, jwt.PyJWK] = {}

    def due(self, now: float) -> bool:
        return now >= self._due

    def learn(self, document: Mapping[str, Any], now: float) -> None:
        """Take the published keys for those to go by, until the cache's time has passed."""
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in document["keys"]}
        self._due = now + self._cache

    def knows_any(self) -> bool:
        return bool(self._keys)

    def fault(self, token: Token) -> str | None:
        """Why it refuses the token; None when it accepts it."""
        key = self._keys.get(token.key)
        if key is None:
            return "unknown key"
        try:
            jwt.decode(token.text, key, [key.algorithm_name], audience=AUDIENCE, options={"verify_iat": False})
        except jwt.InvalidTokenError as error:
            return type(error).__name__
        return None


class Validators:
    """Several with the same cache's time, whose turns are spread evenly over it, and all tokens that live.

    A token counts once, whoever refuses it and however often.
    """

    def __init__(self, cache: float, count: int, now: float) -> None:
        self._parties = [Validator(cache, now + cache * number / count) for number in range(count)]
        self._living: dict[str, Token] = {}
        self.tokens = self.checks = 0
        self.refused: dict[str, list[str]] = {}
        """Key → why each token of it was refused."""

    def due(self, now: float) -> list[Validator]:
        return [party for party in self._parties if party.due(now)]

    def take(self, token: Token) -> None:
        """A token that was just obtained: everyone sees it at once, and again with each new set of keys."""
        self.tokens += 1
        self._living[token.text] = token
        for party in self._parties:
            if party.knows_any():
                self._check(party, token)

    def learned(self, party: Validator, now: float) -> None:
        """What this party makes of all tokens that live, with the keys it has got; `now` since the epoch."""
        self._living = {text: token for text, token in self._living.items() if token.expires - now > LAST_MOMENT}
        for token in list(self._living.values()):
            self._check(party, token)

    def _check(self, party: Validator, token: Token) -> None:
        self.checks += 1
        fault = party.fault(token)
        if fault is not None and self._living.pop(token.text, None) is not None:
            self.refused.setdefault(token.key, []).append(fault)

    def report(self) -> dict[str, Any]:
        shown = {key: {"tokens": len(faults), "why": sorted(set(faults))} for key, faults in self.refused.items()}
        return {"tokens": self.tokens, "checks": self.checks, "refused": shown}
