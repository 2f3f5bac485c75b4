"""SQL about accounts that signing in and users' own routes share."""

from __future__ import annotations

import unicodedata
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, Uuid, and_, bindparam, delete, func, or_, select

from slipway.auth.addresses import address_key
from slipway.auth.models import EmailChange, User
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

# Rows of earlier releases, and of two people whose addresses have one key, are found as those releases found them.
UNKEYED = User.email_keyed.is_distinct_from(User.email)


def keyed(key: str) -> ColumnElement[bool]:
    """Users whose address has this key: one at most."""
    return and_(User.email_key == key, User.email_keyed == User.email)


def by_address(typed: str) -> Select[User]:
    """Whose address this is, however it is written: one user at most."""
    same_case = func.lower(User.email) == func.lower(unicodedata.normalize("NFC", typed))
    found = or_(keyed(address_key(typed)), and_(UNKEYED, same_case))
    return select(User).where(found).order_by(UNKEYED.desc()).limit(1)


_END_EMAIL_CHANGE = Statement(
    delete(cast("Table", EmailChange.__table__)).where(EmailChange.user_id == bindparam("user_id", type_=Uuid))
)


async def end_email_change(transaction: Transaction, user_id: UUID) -> None:
    """What waits to be confirmed is void."""
    await transaction.row(_END_EMAIL_CHANGE, user_id=user_id)
