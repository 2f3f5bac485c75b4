"""`Idempotency-Key`: a repeated POST gives the first reply again instead of acting twice.

The key's row is written in the transaction of the work itself, so either both are there or neither is. A concurrent
repeat waits on that row until the first one commits, then reads its reply. What is stored is a hash of user and key,
and a fingerprint of the request keyed by the client's own secret key, so that the table gives no body away.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Any
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
from sqlalchemy.sql.dml import ReturningInsert

from slipway.http.problems import ProblemDetail, UnavailableError, ValidationError
from slipway.storage.models import Base
from slipway.storage.statements import Row, Statement
from slipway.storage.unit import OneInsert, Transaction

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


_LIFETIME = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("key_ttl", type_=Integer))
_AFRESH = {
    "fingerprint": bindparam("key_fingerprint"),
    "status": None,
    "headers": None,
    "body": None,
    "created_at": func.now(),
    "expires_at": func.now() + _LIFETIME,
}


def _claim(**reply: Any) -> ReturningInsert[Any]:
    afresh = {**_AFRESH, **reply}
    return (
        insert(_ROWS)
        .values(key_hash=bindparam("key_hash"), user_id=bindparam("key_user_id"), **afresh)
        .on_conflict_do_update(index_elements=[_ROWS.c.key_hash], set_=afresh, where=_ROWS.c.expires_at < func.now())
        .returning(_ROWS.c.key_hash)
    )


_CLAIM = Statement(_claim())
_REPLY = {
    "status": bindparam("reply_status", type_=SmallInteger),
    "headers": bindparam("reply_headers", type_=JSONB),
    "body": bindparam("reply_body", type_=LargeBinary),
}
_ANSWERED = _claim(**_REPLY)
"""A claim that has its reply with it."""

_REMEMBER = Statement(update(_ROWS).where(_ROWS.c.key_hash == bindparam("hash")).values(_REPLY))
_EARLIER = Statement(
    select(_ROWS.c.fingerprint, _ROWS.c.status, _ROWS.c.headers, _ROWS.c.body).where(
        _ROWS.c.key_hash == bindparam("hash")
    )
)


class OneCreate:
    """A row that a POST adds, with or without a key, in one statement."""

    def __init__(self, table: Table, *names: str) -> None:
        self.plain = OneInsert(table, *names)
        self.keyed = OneInsert(table, *names, claiming=_ANSWERED)


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key for one request of theirs. `ttl` is in seconds."""

    key_hash: bytes
    fingerprint: bytes
    user_id: UUID
    ttl: int

    async def claim(self, transaction: Transaction) -> None:
        """Before any work: wait for a concurrent first request with this key to end.

        Raises IdempotentReplay when that one committed, ValidationError when the key was used for another request.
        """
        if await transaction.row(_CLAIM, **self._claiming()) is None:
            await self._replay(transaction)

    async def remember(self, transaction: Transaction, response: Response) -> None:
        """Store the reply beside the work it reports; call it last."""
        await transaction.row(_REMEMBER, hash=self.key_hash, **_told(response))

    async def conclude(self, transaction: Transaction, create: OneCreate, response: Response, **values: Any) -> None:
        """Claim, work and reply in one statement. Raises as `claim` does."""
        if not await transaction.conclude(create.keyed, **self._claiming(), **_told(response), **values):
            await self._replay(transaction)

    def _claiming(self) -> dict[str, Any]:
        return {
            "key_hash": self.key_hash,
            "key_fingerprint": self.fingerprint,
            "key_user_id": self.user_id,
            "key_ttl": self.ttl,
        }

    async def _replay(self, transaction: Transaction) -> None:
        earlier = await transaction.row(_EARLIER, hash=self.key_hash)
        if earlier is None:
            raise UnavailableError("This key was being forgotten; try again.")
        raise IdempotentReplay(_reply_of(earlier, self.fingerprint))


async def key_of(request: Request, user_id: UUID, given: str | None) -> Key | None:
    """What an `Idempotency-Key` header stands for; None without one."""
    if given is None:
        return None
    raw = given.encode()
    described = f"{request.method}\n{request.url.path}\n".encode() + await request.body()
    return Key(
        key_hash=hashlib.sha256(user_id.bytes + raw).digest(),
        fingerprint=hmac.digest(raw, described, "sha256"),
        user_id=user_id,
        ttl=request.app.state.resources.settings.idempotency_ttl,
    )


async def claim_key(transaction: Transaction, key: Key | None) -> None:
    """Before any work; without a key there is nothing to claim. Raises as `Key.claim` does."""
    if key is not None:
        await key.claim(transaction)


async def remember(transaction: Transaction, key: Key | None, response: Response) -> Response:
    """Last in the work, with the reply that is returned; without a key nothing is remembered."""
    if key is not None:
        await key.remember(transaction, response)
    return response


async def create_once(
    transaction: Transaction, key: Key | None, create: OneCreate, response: Response, **values: Any
) -> Response:
    """Add a row of whose creation `response` tells, once for each key. It concludes the transaction."""
    if key is None:
        await transaction.conclude(create.plain, **values)
    else:
        await key.conclude(transaction, create, response, **values)
    return response


def _told(response: Response) -> dict[str, Any]:
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return {"reply_status": response.status_code, "reply_headers": kept, "reply_body": bytes(response.body)}


def _reply_of(earlier: Row, fingerprint: bytes) -> Response:
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
"""For POST routes: `key_of` before the unit of work; in it `create_once`, or `claim_key` first and `remember` last."""
