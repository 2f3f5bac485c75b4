"""The first administrator: from `slipway run`, from mounted files, or from `slipway admin create`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from slipway.auth.addresses import as_address
from slipway.auth.passwords import PasswordHasher
from slipway.domains import ADMINISTRATOR
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction
from slipway.users import queries

# Held while looking and adding, so that two pods that start together make one administrator, not an error.
_LOCK = Statement(text("SELECT pg_advisory_xact_lock(hashtextextended('slipway.administrators', 0))"))

CREATE = Action("users", "create_administrator")


class AdministratorError(ValueError):
    """The folder doesn't hold an administrator's login; the message says what is missing."""


def read_administrator(folder: Path) -> tuple[str, str]:
    """E-mail and password from the files `email` (or `username`) and `password`. Raises AdministratorError."""
    values = {}
    for name in ("email", "username", "password"):
        try:
            values[name] = (folder / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            values[name] = ""
    email = as_address(values["email"] or values["username"])
    if not email or not values["password"]:
        raise AdministratorError(f"{folder} must hold the files `email` and `password`.")
    return email, values["password"]


async def create_administrator(database: Database, passwords: PasswordHasher, email: str, password: str) -> bool:
    """Make a user an administrator who doesn't exist yet; False when the address is there already."""
    return await _create(database, passwords, email, password, only_first=False)


async def create_first_administrator(database: Database, passwords: PasswordHasher, email: str, password: str) -> bool:
    """The same, but only in a database without users."""
    if await queries.exists(database):
        return False
    return await _create(database, passwords, email, password, only_first=True)


async def _create(
    database: Database, passwords: PasswordHasher, email: str, password: str, *, only_first: bool
) -> bool:
    password_hash = await passwords.hash(password)

    async def work(transaction: Transaction) -> bool:
        await transaction.row(_LOCK)
        if await _is_there(transaction, email, only_first=only_first):
            transaction.leave_nothing()
            return False
        await queries.add(transaction, email, "", password_hash, ADMINISTRATOR)
        return True

    return await database.unit(CREATE, work)


async def _is_there(transaction: Transaction, email: str, *, only_first: bool) -> bool:
    return (
        await queries.exists(transaction) if only_first else await queries.get_by_email(transaction, email) is not None
    )
