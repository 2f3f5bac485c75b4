"""SQL about sign-in attempts."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from sqlalchemy import LargeBinary, Table, bindparam, case, delete, func, select, text, update

from slipway.sessions.models import LoginAttempt
from slipway.storage.statements import Statement
from slipway.storage.unit import Asked, Transaction

FORGET_ATTEMPTS_AFTER = timedelta(days=1)
"""Failures older than this count no more. Longer than any back-off, so that waiting for it gains no guesses."""

_ATTEMPTS = cast("Table", LoginAttempt.__table__)
_COUNT_ATTEMPT = Statement(
    text("""
    INSERT INTO login_attempts AS known (key_hash, failures, blocked_until, updated_at)
    VALUES (
        :key_hash, 1,
        clock_timestamp() + interval '1 second' * CASE WHEN CAST(:free AS integer) <= 1 THEN 1 ELSE 0 END,
        clock_timestamp()
    )
    ON CONFLICT (key_hash) DO UPDATE SET
        failures = CASE WHEN known.updated_at < clock_timestamp() - CAST(:forget AS interval) THEN 1
            ELSE known.failures + 1 END,
        blocked_until = clock_timestamp() + interval '1 second' * CASE
            WHEN known.updated_at < clock_timestamp() - CAST(:forget AS interval) THEN 0
            WHEN known.failures + 1 < CAST(:free AS integer) THEN 0
            ELSE least(CAST(:longest AS integer), power(2, least(known.failures + 1 - CAST(:free AS integer), 20)))
            END,
        updated_at = clock_timestamp()
    WHERE known.blocked_until <= clock_timestamp()
    RETURNING failures
""")
)

_KEY_HASH = bindparam("hash", type_=LargeBinary)
_BLOCKED_FOR = Statement(
    select(func.extract("epoch", _ATTEMPTS.c.blocked_until - func.clock_timestamp()).label("left")).where(
        _ATTEMPTS.c.key_hash == _KEY_HASH
    )
)
_FORGET = Statement(delete(_ATTEMPTS).where(_ATTEMPTS.c.key_hash == _KEY_HASH))
_GIVE_BACK = Statement(
    update(_ATTEMPTS)
    .where(_ATTEMPTS.c.key_hash == _KEY_HASH)
    .values(
        failures=func.greatest(_ATTEMPTS.c.failures - 1, 0),
        blocked_until=case(
            (_ATTEMPTS.c.failures == bindparam("counted"), func.clock_timestamp()), else_=_ATTEMPTS.c.blocked_until
        ),
    )
)


async def count_attempt(transaction: Transaction, key_hash: bytes, free: int, longest: int) -> int | None:
    """Count a guess and set how long the next must wait, in one statement; None when it must wait itself.

    From the `free`-th failure on the wait doubles from one second up to `longest`.
    """
    values = {"key_hash": key_hash, "free": free, "longest": longest, "forget": FORGET_ATTEMPTS_AFTER}
    row = await transaction.row(_COUNT_ATTEMPT, **values)
    return row.failures if row else None


async def blocked_for(asked: Asked, key_hash: bytes) -> float:
    """Seconds until the next guess may be made; 0 when it may be now."""
    row = await asked.row(_BLOCKED_FOR, hash=key_hash)
    return max(0.0, float(row.left)) if row else 0.0


async def forget_attempts(transaction: Transaction, key_hash: bytes) -> None:
    await transaction.row(_FORGET, hash=key_hash)


async def give_attempt_back(transaction: Transaction, key_hash: bytes, failures: int) -> None:
    """Uncount a guess; the wait it caused ends too, unless others failed since it counted `failures`."""
    await transaction.row(_GIVE_BACK, hash=key_hash, counted=failures)
