"""SQL about accounts that signing in and users' own routes share."""

from __future__ import annotations

import unicodedata
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, String, Table, Uuid, and_, bindparam, delete, func, or_, select

from slipway.auth.addresses import address_key
from slipway.auth.models import EmailChange, User
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

# Rows of earlier releases, and of two people whose addresses have one key, are found as those releases found them.
UNKEYED = User.email_keyed.is_distinct_from(User.email)


def by_address(*columns: Any) -> Select[Any]:
    """Whose address it is that `typed` gives the values of: one user at most."""
    same_case = func.lower(User.email) == func.lower(bindparam("typed", type_=String))
    keyed = and_(User.email_key == bindparam("typed_key"), User.email_keyed == User.email)
    found = or_(keyed, and_(UNKEYED, same_case))
    return select(*columns).where(found).order_by(UNKEYED.desc()).limit(1)


def typed(email: str) -> dict[str, str]:
    """What `by_address` is run with, however the address is written."""
    return {"typed_key": address_key(email), "typed": unicodedata.normalize("NFC", email)}


_END_EMAIL_CHANGE = Statement(
    delete(cast("Table", EmailChange.__table__)).where(EmailChange.user_id == bindparam("user_id", type_=Uuid))
)


async def end_email_change(transaction: Transaction, user_id: UUID) -> None:
    """What waits to be confirmed is void."""
    await transaction.row(_END_EMAIL_CHANGE, user_id=user_id)
