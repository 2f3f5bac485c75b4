"""What expires, table by table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.sessions.queries import FORGET_ATTEMPTS_AFTER
from slipway.settings import Settings


@dataclass(frozen=True, slots=True)
class Below:
    """Rows of `table` that go with a row of another, to whose id `key` refers."""

    table: str
    key: str
    batch: int = 1000
    """Rows deleted in one transaction."""

    def delete(self) -> str:
        """The part of the statement. An array, because a join with the doomed might read the whole table."""
        return (
            f"DELETE FROM {self.table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {self.table} "  # noqa: S608 - ours
            f"WHERE {self.key} = ANY(ARRAY(SELECT id FROM doomed)) LIMIT :batch_below)) RETURNING 1"
        )


@dataclass(frozen=True, slots=True)
class Expiry:
    """Rows of `table` have expired when `expired` is true; `oldest` is the column that an index finds them by.

    What is `below` goes before them: by foreign key it would go along
    without a bound.
    """

    table: str
    oldest: str
    expired: str
    batch: int = 1000
    """Rows deleted in one transaction."""
    below: Below | None = None

    def delete(self) -> str:
        """The statement that deletes a batch but for rows that others hold, and gives their number and that of `below`.

        In order of age: without it a long backlog would be looked for from the table's beginning each time, past all
        rows that are deleted already.
        """
        doomed = (
            f"SELECT ctid AS at{', id' if self.below else ''} FROM {self.table} WHERE {self.expired} "  # noqa: S608 - our own names
            f"ORDER BY {self.oldest} LIMIT :batch FOR UPDATE SKIP LOCKED"
        )
        gone = f"DELETE FROM {self.table} WHERE ctid = ANY(ARRAY(SELECT at FROM doomed))"  # noqa: S608 - our own names
        below = "SELECT WHERE false"
        if self.below is not None:
            below = self.below.delete()
            gone += " AND (SELECT count(*) FROM below) < :batch_below"
        return (
            f"WITH doomed AS MATERIALIZED ({doomed}), below AS ({below}), gone AS ({gone} RETURNING 1) "  # noqa: S608 - ours
            "SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM below)"
        )

    def parameters(self, seconds: Mapping[str, int]) -> dict[str, int]:
        """What the statement is run with, of the lifetimes those that it names."""
        below = {} if self.below is None else {"batch_below": self.below.batch}
        named = {name: value for name, value in seconds.items() if f":{name})" in self.expired}
        return {"batch": self.batch, **below, **named}

    def is_full(self, gone: int, gone_below: int) -> bool:
        """Whether a batch of so many rows was a whole one: more may be there."""
        return gone == self.batch or (self.below is not None and gone_below == self.below.batch)


_CHUNKS = Below("export_chunks", "export_id", batch=100)
_TOKENS = Below("refresh_tokens", "session_id")

EXPIRIES = (
    Expiry("exports", "expires_at", "expires_at < now()", below=_CHUNKS),
    Expiry("sessions", "expires_at", "expires_at < now()", below=_TOKENS),
    Expiry(
        "sessions",
        "created_at",
        "created_at < now() - make_interval(secs => :session_max_lifetime)",
        below=_TOKENS,
    ),
    # A used token is kept as long as one could come back, to recognise that; the newest one of a session isn't used.
    Expiry("refresh_tokens", "used_at", "used_at < now() - make_interval(secs => :refresh_token_ttl)"),
    Expiry("password_resets", "expires_at", "expires_at < now()"),
    Expiry("email_changes", "expires_at", "expires_at < now()"),
    Expiry("idempotency_keys", "expires_at", "expires_at < now()"),
    Expiry(
        "login_attempts",
        "updated_at",
        "updated_at < now() - make_interval(secs => :login_memory) AND blocked_until < now()",
    ),
)


def lifetimes(settings: Settings) -> dict[str, int]:
    """The seconds that conditions name."""
    return {
        "session_max_lifetime": settings.session_max_lifetime,
        "refresh_token_ttl": settings.refresh_token_ttl,
        "login_memory": max(int(FORGET_ATTEMPTS_AFTER.total_seconds()), settings.login_backoff_max),
    }
