"""`Idempotency-Key`: a repeated POST gives the first reply again instead of acting twice.

The key's row is written in the transaction of the work itself, so either both are there or neither is. A concurrent
repeat waits on that row until the first one commits, then reads its reply. What is stored is a hash of user and key,
and a fingerprint of the request keyed by the client's own secret key, so that the table gives no body away.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated
from uuid import UUID

from fastapi import Header, Request, Response
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Uuid,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.http.problems import ProblemDetail, ValidationError
from slipway.storage.models import Base

REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("content-type", "location", "etag")


_ROWS = Table(
    "idempotency_keys",
    Base.metadata,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("headers", JSONB(none_as_null=True)),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)


class IdempotentReplay(Exception):  # noqa: N818 - no error: it carries the reply that was given before
    """Ends a request early with the reply that its key already has."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


_LIFETIME = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("ttl", type_=Integer))
_AFRESH = {
    "fingerprint": bindparam("fingerprint"),
    "status": None,
    "headers": None,
    "body": None,
    "created_at": func.now(),
    "expires_at": func.now() + _LIFETIME,
}

# Made once: building them costs more than PostgreSQL needs to run them.
CLAIM = (
    insert(_ROWS)
    .values(key_hash=bindparam("key_hash"), user_id=bindparam("user_id"), **_AFRESH)
    .on_conflict_do_update(index_elements=[_ROWS.c.key_hash], set_=_AFRESH, where=_ROWS.c.expires_at < func.now())
    .returning(_ROWS.c.key_hash)
)
REMEMBER = (
    update(_ROWS)
    .where(_ROWS.c.key_hash == bindparam("hash"))
    .values(status=bindparam("new_status"), headers=bindparam("new_headers"), body=bindparam("new_body"))
)
EARLIER = select(_ROWS.c.fingerprint, _ROWS.c.status, _ROWS.c.headers, _ROWS.c.body).where(
    _ROWS.c.key_hash == bindparam("hash")
)


class Once:
    """The claim of a request on its key; without a key it remembers nothing."""

    def __init__(self, session: AsyncSession, key_hash: bytes | None) -> None:
        self._session = session
        self._key_hash = key_hash

    async def remember(self, response: Response) -> Response:
        """Store the reply beside the work it reports; call it last, with the reply that is returned."""
        if self._key_hash is not None:
            kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            stored = {"new_status": response.status_code, "new_headers": kept, "new_body": bytes(response.body)}
            await self._session.execute(REMEMBER, {"hash": self._key_hash, **stored})
        return response


async def claim(request: Request, session: AsyncSession, user_id: UUID, key: str | None) -> Once:
    """Claim the key in the transaction of `session`, waiting for a concurrent first request with it to end.

    Raises IdempotentReplay when that one committed, ValidationError when the key was used for another request.
    """
    if key is None:
        return Once(session, None)
    raw = key.encode()
    key_hash = hashlib.sha256(user_id.bytes + raw).digest()
    described = f"{request.method}\n{request.url.path}\n".encode() + await request.body()
    fingerprint = hmac.digest(raw, described, "sha256")
    ttl = request.app.state.resources.settings.idempotency_ttl
    if not await _is_first(session, key_hash, fingerprint, user_id, ttl):
        raise IdempotentReplay(await _earlier_reply(session, key_hash, fingerprint))
    return Once(session, key_hash)


async def _is_first(session: AsyncSession, key_hash: bytes, fingerprint: bytes, user_id: UUID, ttl: int) -> bool:
    row = {"key_hash": key_hash, "fingerprint": fingerprint, "user_id": user_id, "ttl": ttl}
    return (await session.execute(CLAIM, row)).first() is not None


async def _earlier_reply(session: AsyncSession, key_hash: bytes, fingerprint: bytes) -> Response:
    earlier = (await session.execute(EARLIER, {"hash": key_hash})).one()
    if not hmac.compare_digest(earlier.fingerprint, fingerprint):
        fault = ProblemDetail(
            location="header.Idempotency-Key", message="This key was used for another request; choose a new one."
        )
        raise ValidationError(details=[fault])
    return Response(earlier.body, earlier.status or 200, {**(earlier.headers or {}), REPLAYED: "true"})


IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A value of your own, such as a UUID: repeating the request with it never acts twice.",
        examples=["5b3c6d0e-1f6a-4b5e-9a60-1f1a3b0c2d4e"],
    ),
]
"""For POST routes: `once = await claim(request, session, user.id, key)`, then `return await once.remember(reply)`."""
