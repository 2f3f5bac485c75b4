"""`Idempotency-Key`: a repeated POST gives the first reply again instead of acting twice.

The key's row is written in the transaction of the work itself, so either both are there or neither is. A concurrent
repeat waits on that row until the first one commits, then reads its reply. What is stored is a hash of user and key,
and a fingerprint of the request keyed by the client's own secret key, so that the table gives no body away.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from slipway.problems import ProblemDetail, ValidationError
from slipway.sessions.dependencies import CurrentUser
from slipway.storage.models import Base
from slipway.storage.session import DbSession

REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("content-type", "location", "etag")


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    key_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    fingerprint: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class IdempotentReplay(Exception):  # noqa: N818 - no error: it carries the reply that was given before
    """Ends a request early with the reply that its key already has."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class Once:
    """The claim of this request on its key; without a key it remembers nothing."""

    def __init__(self, session: AsyncSession, key_hash: bytes | None) -> None:
        self._session = session
        self._key_hash = key_hash

    async def remember(self, response: Response) -> Response:
        """Store the reply beside the work it reports; call it last, with the reply that is returned."""
        if self._key_hash is not None:
            kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            await self._session.execute(
                update(IdempotencyKey)
                .where(IdempotencyKey.key_hash == self._key_hash)
                .values(status=response.status_code, headers=kept, body=bytes(response.body))
            )
        return response


async def _claim(session: AsyncSession, key_hash: bytes, fingerprint: bytes, user_id: UUID, ttl: int) -> bool:
    """Whether this request is the first with its key; waits for a concurrent first one to end."""
    lifetime = {"created_at": func.now(), "expires_at": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, ttl)}
    row: dict[str, Any] = {"fingerprint": fingerprint, "status": None, "headers": None, "body": None, **lifetime}
    statement = insert(IdempotencyKey).values(key_hash=key_hash, user_id=user_id, **row)
    claimed = await session.execute(
        statement.on_conflict_do_update(
            index_elements=[IdempotencyKey.key_hash], set_=row, where=IdempotencyKey.expires_at < func.now()
        ).returning(IdempotencyKey.key_hash)
    )
    return claimed.first() is not None


async def _earlier_reply(session: AsyncSession, key_hash: bytes, fingerprint: bytes) -> Response:
    earlier = (await session.execute(select(IdempotencyKey).where(IdempotencyKey.key_hash == key_hash))).scalar_one()
    if not hmac.compare_digest(earlier.fingerprint, fingerprint):
        fault = ProblemDetail(
            location="header.Idempotency-Key", message="This key was used for another request; choose a new one."
        )
        raise ValidationError(details=[fault])
    return Response(earlier.body, earlier.status or 200, {**(earlier.headers or {}), REPLAYED: "true"})


async def _once(
    request: Request,
    session: DbSession,
    user: CurrentUser,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=8,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="A value of your own, such as a UUID: repeating the request with it never acts twice.",
            examples=["5b3c6d0e-1f6a-4b5e-9a60-1f1a3b0c2d4e"],
        ),
    ] = None,
) -> Once:
    if idempotency_key is None:
        return Once(session, None)
    raw = idempotency_key.encode()
    key_hash = hashlib.sha256(user.id.bytes + raw).digest()
    described = f"{request.method}\n{request.url.path}\n".encode() + await request.body()
    fingerprint = hmac.digest(raw, described, "sha256")
    ttl = request.app.state.resources.settings.idempotency_ttl
    if not await _claim(session, key_hash, fingerprint, user.id, ttl):
        raise IdempotentReplay(await _earlier_reply(session, key_hash, fingerprint))
    return Once(session, key_hash)


Idempotency = Annotated[Once, Depends(_once, scope="function")]
"""For POST routes: `return await once.remember(response)`."""
