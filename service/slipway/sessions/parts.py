"""What sessions need of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

if TYPE_CHECKING:
    from slipway.auth.keys import KeyStore
    from slipway.auth.passwords import PasswordHasher
    from slipway.auth.principals import Principals
    from slipway.auth.tokens import Tokens
    from slipway.jobs.queue import JobQueue
    from slipway.sessions.throttle import LoginThrottle
    from slipway.settings import Settings
    from slipway.storage.engine import Database


class SessionParts(Protocol):
    """By the names that the whole process has for them."""

    settings: Settings
    database: Database
    throttle: LoginThrottle
    passwords: PasswordHasher
    principals: Principals
    tokens: Tokens
    keys: KeyStore
    queue: JobQueue


def parts_of(request: Request) -> SessionParts:
    return cast("SessionParts", request.app.state.resources)
