"""SQL about users."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    LargeBinary,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_expression

from slipway.auth.accounts import UNKEYED, by_address, typed
from slipway.auth.addresses import address_key, parts_of_keys
from slipway.auth.models import EmailChange, User
from slipway.auth.permissions import ADMIN
from slipway.http.paging import PageRequest
from slipway.storage.models import new_id
from slipway.storage.statements import Statement, one
from slipway.storage.unit import Asked, Transaction

_PENDING = (
    select(EmailChange.email)
    .where(EmailChange.user_id == User.id, EmailChange.expires_at > func.now())
    .scalar_subquery()
)


def _shown() -> Select[User]:
    return select(User).options(with_expression(User.pending_email, _PENDING))


async def get(session: AsyncSession, user_id: UUID) -> User | None:
    return (await session.scalars(_shown().where(User.id == user_id))).one_or_none()


@dataclass(frozen=True, slots=True)
class Known:
    """A user's row as it is under its lock, or was just written."""

    id: UUID
    email: str
    display_name: str
    permissions: list[str]
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime
    pending_email: str | None = None


_USERS = cast("Table", User.__table__)
_CHANGES = cast("Table", EmailChange.__table__)
_KNOWN = [_USERS.c[field.name] for field in fields(Known) if field.name != "pending_email"]
_USER = _USERS.c.id == bindparam("user", type_=Uuid)
_LOCK = Statement(select(*_KNOWN).where(_USER).with_for_update())
_PENDING_OF = Statement(
    select(_CHANGES.c.email).where(
        _CHANGES.c.user_id == bindparam("user", type_=Uuid), _CHANGES.c.expires_at > func.now()
    )
)
_ADD = Statement(
    insert(_USERS)
    .values(
        id=bindparam("id"),
        email=bindparam("email"),
        email_key=bindparam("email_key"),
        email_keyed=bindparam("email"),
        display_name=bindparam("display_name"),
        password_hash=bindparam("password_hash"),
        permissions=bindparam("permissions"),
        is_active=true(),
        version=1,
    )
    .returning(*_KNOWN)
)


def _or_as_it_is(name: str, column: str) -> ColumnElement[Any]:
    return func.coalesce(bindparam(name, type_=_USERS.c[column].type), _USERS.c[column])


_CHANGE = Statement(
    update(_USERS)
    .where(_USER)
    .values(
        email=_or_as_it_is("new_email", "email"),
        email_key=_or_as_it_is("new_key", "email_key"),
        email_keyed=_or_as_it_is("new_email", "email_keyed"),
        display_name=_or_as_it_is("new_name", "display_name"),
        is_active=_or_as_it_is("active", "is_active"),
        permissions=_or_as_it_is("new_permissions", "permissions"),
        version=_USERS.c.version + 1,
        updated_at=func.now(),
    )
    .returning(*_KNOWN)
)
_ADMINISTRATORS = Statement(
    select(_USERS.c.id)
    .where(_USERS.c.permissions.contains([ADMIN]), _USERS.c.is_active)
    .order_by(_USERS.c.id)
    .with_for_update()
)
_REMOVE = Statement(delete(_USERS).where(_USER))


async def get_for_update(transaction: Transaction, user_id: UUID) -> Known | None:
    """Locked, and shown as it is under the lock."""
    row = await transaction.row(_LOCK, user=user_id)
    if row is None:
        return None
    pending = await transaction.row(_PENDING_OF, user=user_id)
    return Known(**row, pending_email=pending.email if pending else None)


async def add(
    transaction: Transaction, email: str, display_name: str, password_hash: str, permissions: Sequence[str]
) -> Known:
    """Raises asyncpg's UniqueViolationError when somebody has the address."""
    transaction.entry.resource = user_id = new_id()
    row = await transaction.row(
        _ADD,
        id=user_id,
        email=email,
        email_key=address_key(email),
        display_name=display_name,
        password_hash=password_hash,
        permissions=sorted(set(permissions)),
    )
    return Known(**one(row))


async def change(
    transaction: Transaction,
    user: Known,
    *,
    email: str | None = None,
    display_name: str | None = None,
    is_active: bool | None = None,
    permissions: Sequence[str] | None = None,
) -> Known:
    """Give a locked row what isn't None, and its next version. Raises asyncpg's UniqueViolationError as `add` does."""
    row = await transaction.row(
        _CHANGE,
        user=user.id,
        new_email=email,
        new_key=None if email is None else address_key(email),
        new_name=display_name,
        active=is_active,
        new_permissions=None if permissions is None else sorted(set(permissions)),
    )
    return Known(**one(row), pending_email=user.pending_email)


_BY_ADDRESS = Statement(by_address(User.id, User.email, User.is_active))


async def get_by_email(transaction: Transaction, email: str) -> Any:
    """Whose address it is: id, address and whether they are active; None where it is nobody's."""
    return await transaction.row(_BY_ADDRESS, **typed(email))


_ANY = Statement(select(_USERS.c.id).limit(1))


async def exists(asked: Asked) -> bool:
    """Whether there is any user at all."""
    return await asked.row(_ANY) is not None


def _matching(email: str | None) -> Select[User]:
    statement = _shown()
    if email:
        parts = [User.email_key.contains(part, autoescape=True) for part in sorted(parts_of_keys(email))]
        as_shown = unicodedata.normalize("NFC", email).lower()
        same_case = func.lower(User.email).contains(as_shown, autoescape=True)
        statement = statement.where(or_(and_(~UNKEYED, or_(*parts)), same_case))
    return statement


async def page(session: AsyncSession, wanted: PageRequest, email: str | None) -> Sequence[User]:
    """One row more than wanted, so that the caller knows whether more follow."""
    statement = _matching(email).order_by(User.id).limit(wanted.per_page + 1).offset(wanted.offset)
    if wanted.after:
        statement = statement.where(User.id > wanted.after)
    return (await session.scalars(statement)).all()


async def count(session: AsyncSession, email: str | None) -> int:
    return (await session.execute(select(func.count()).select_from(_matching(email).subquery()))).scalar_one()


async def lock_administrators(transaction: Transaction) -> Sequence[UUID]:
    """The active administrators, locked in one order, so that two removals at once can't leave none."""
    return [row.id for row in await transaction.rows(_ADMINISTRATORS)]


async def remove(transaction: Transaction, user_id: UUID) -> None:
    """Sessions, items and exports go with it by foreign key."""
    await transaction.row(_REMOVE, user=user_id)


# Addresses without a key


class Unkeyed(NamedTuple):
    """A user whose key is missing or of another address, and the key that the address should have."""

    id: UUID
    email: str
    key: str


_SET_KEYS = Statement(
    text("""
    UPDATE users SET email_key = wanted.key, email_keyed = wanted.email
    FROM unnest(CAST(:ids AS uuid[]), CAST(:emails AS text[]), CAST(:keys AS text[])) AS wanted (id, email, key)
    WHERE users.id = wanted.id AND users.email = wanted.email AND NOT EXISTS (
        SELECT FROM users AS other
        WHERE other.email_key = wanted.key AND other.email_keyed = other.email AND other.id <> wanted.id
    )
    RETURNING users.id
""")
)


async def unkeyed(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[Unkeyed]:
    """The oldest first."""
    statement = select(User.id, User.email).where(UNKEYED).order_by(User.id).limit(limit)
    if after is not None:
        statement = statement.where(User.id > after)
    return [Unkeyed(row.id, row.email, address_key(row.email)) for row in await session.execute(statement)]


async def set_keys(transaction: Transaction, rows: Sequence[Unkeyed]) -> Sequence[UUID]:
    """Give addresses their keys, where they are still those addresses and nobody else has the key; who got theirs."""
    values = {"ids": [row.id for row in rows], "emails": [row.email for row in rows], "keys": [row.key for row in rows]}
    return [row.id for row in await transaction.rows(_SET_KEYS, **values)]


_HOLDERS = Statement(
    select(_USERS.c.email_key, _USERS.c.id).where(
        _USERS.c.email_key == func.any(bindparam("keys", type_=ARRAY(Text()))), _USERS.c.email_keyed == _USERS.c.email
    )
)


async def holders(transaction: Transaction, keys: Sequence[str]) -> dict[str, UUID]:
    """By key, whose it is."""
    return {row.email_key: row.id for row in await transaction.rows(_HOLDERS, keys=list(keys))}


# Changes of address

_WISH: dict[str, Any] = {
    "email": bindparam("wanted"),
    "email_before": bindparam("before"),
    "token_hashes": literal_column("'{}'::bytea[]"),
    "created_at": func.now(),
    "expires_at": func.now() + bindparam("lifetime", type_=Interval),
}
_PUT_CHANGE = Statement(
    upsert(_CHANGES)
    .values(user_id=bindparam("user", type_=Uuid), **_WISH)
    .on_conflict_do_update(index_elements=[_CHANGES.c.user_id], set_=_WISH)
)
_ASKER = bindparam("user", type_=Uuid)
_TOKEN = bindparam("hash", type_=LargeBinary)
_IS_WANTED = Statement(
    select(_USERS.c.id)
    .select_from(_USERS)
    .join(_CHANGES, _CHANGES.c.user_id == _USERS.c.id)
    .where(_USERS.c.id == _ASKER, _USERS.c.is_active, _USERS.c.email == _CHANGES.c.email_before)
    .where(_CHANGES.c.email == bindparam("wanted"), _CHANGES.c.expires_at > func.now())
)
_ADD_TOKEN = Statement(
    update(_CHANGES)
    .where(_CHANGES.c.user_id == _ASKER, _CHANGES.c.email == bindparam("wanted"))
    .values(token_hashes=func.array_append(_CHANGES.c.token_hashes, _TOKEN))
)
_ASKER_OF = Statement(
    select(_CHANGES.c.user_id).where(_CHANGES.c.token_hashes.contains(bindparam("hashes", type_=ARRAY(LargeBinary()))))
)
_USE_CHANGE = Statement(
    delete(_CHANGES)
    .where(
        _CHANGES.c.user_id == _ASKER,
        _CHANGES.c.token_hashes.contains(bindparam("hashes", type_=ARRAY(LargeBinary()))),
        _CHANGES.c.expires_at > func.now(),
        _CHANGES.c.email_before == bindparam("before"),
    )
    .returning(_CHANGES.c.email)
)


async def put_email_change(transaction: Transaction, user: Known, email: str, lifetime: timedelta) -> None:
    """One a user: it takes the place of an earlier one, whose links are dead with that."""
    await transaction.row(_PUT_CHANGE, user=user.id, wanted=email, before=user.email, lifetime=lifetime)


async def email_change_is_wanted(transaction: Transaction, user_id: UUID, email: str) -> bool:
    """Whether the user may still confirm this address."""
    return await transaction.row(_IS_WANTED, user=user_id, wanted=email) is not None


async def add_email_change_token(transaction: Transaction, user_id: UUID, email: str, token_hash: bytes) -> None:
    await transaction.row(_ADD_TOKEN, user=user_id, wanted=email, hash=token_hash)


async def asker_of(transaction: Transaction, token_hash: bytes) -> UUID | None:
    """Who asked for the change that a token confirms."""
    row = await transaction.row(_ASKER_OF, hashes=[token_hash])
    return row.user_id if row else None


async def use_email_change(transaction: Transaction, token_hash: bytes, user: Known) -> str | None:
    """End the change that a token confirms; the new address, for one caller only, and for none when it has expired."""
    row = await transaction.row(_USE_CHANGE, hashes=[token_hash], user=user.id, before=user.email)
    return row.email if row else None
