"""Back-off after failed sign-ins, for an account and for an address.

Each guess is counted BEFORE its password is looked at, in a transaction of its own: a hundred guesses sent at once
meet the count one after another, and most find the account blocked. A right password takes the count back at once
(slipway.sessions.proof). Failure policy: without the database nobody signs in anyway, so its errors simply go up.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from prometheus_client import Counter

from slipway.context.addresses import network_of
from slipway.http.problems import RateLimitedError
from slipway.sessions import attempts
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.telemetry.registry import REGISTRY

if TYPE_CHECKING:
    from slipway.storage.engine import Database

GUESS = Action("sessions", "guess")

Purpose = Literal["login", "reset", "mail"]

THROTTLED = Counter(
    "slipway_login_throttled_total",
    "Sign-ins refused by back-off, by what was blocked.",
    ("by",),
    registry=REGISTRY,
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One counter that a guess was added to; `failures` is what it came to."""

    key_hash: bytes
    failures: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """A guess that was counted and may now be checked."""

    account: Counted
    address: Counted


class LoginThrottle:
    """Counts guesses; after the free ones each further failure doubles the wait from one second."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._account_attempts = settings.login_account_attempts
        self._address_attempts = settings.login_address_attempts
        self._longest = settings.login_backoff_max

    async def reserve(self, account: str, address: str, *, purpose: Purpose = "login") -> Reservation:
        """Count a guess as failed, committed when this returns. Raises RateLimitedError, and then counts nothing."""
        account_hash = hash_key(purpose, "account", account)
        address_hash = hash_key(purpose, "address", network_of(address))
        # Without locks first: a flood of guesses must not hold all connections while it queues for one row.
        await self._refuse_blocked(account_hash, address_hash)

        async def count(transaction: Transaction) -> Reservation:
            # Every transaction takes the account's row first, then the address's: no deadlocks.
            counted = await self._count(transaction, "account", account_hash, self._account_attempts)
            return Reservation(counted, await self._count(transaction, "address", address_hash, self._address_attempts))

        return await self._database.unit(GUESS, count)

    async def forget_account(self, transaction: Transaction, account: str) -> None:
        """An account may be signed in to at once: its owner has proved who they are in another way."""
        await attempts.forget_attempts(transaction, hash_key("login", "account", account))

    async def succeed(self, transaction: Transaction, reservation: Reservation) -> None:
        """The password was right: forget the account's failures and give the address its guess back."""
        await attempts.forget_attempts(transaction, reservation.account.key_hash)
        await attempts.give_attempt_back(transaction, reservation.address.key_hash, reservation.address.failures)

    async def release(self, transaction: Transaction, reservation: Reservation) -> None:
        """The password wasn't looked at: take the guess back."""
        for counted in (reservation.account, reservation.address):
            await attempts.give_attempt_back(transaction, counted.key_hash, counted.failures)

    async def count_mail(self, transaction: Transaction, by: str, name: str) -> float:
        """Count a mail that `name` wants or gets, in the caller's transaction.

        0 when it may be sent; else how many seconds too early it is, and then it isn't counted.
        """
        key_hash = hash_key("mail", by, name)
        if await attempts.count_attempt(transaction, key_hash, self._account_attempts, self._longest) is not None:
            return 0
        return max(1, await attempts.blocked_for(transaction, key_hash))

    async def _count(self, transaction: Transaction, by: str, key_hash: bytes, free: int) -> Counted:
        failures = await attempts.count_attempt(transaction, key_hash, free, self._longest)
        if failures is None:
            raise _refusal(by, await attempts.blocked_for(transaction, key_hash))
        return Counted(key_hash, failures)

    async def _refuse_blocked(self, account_hash: bytes, address_hash: bytes) -> None:
        for by, key_hash in (("account", account_hash), ("address", address_hash)):
            wait = await attempts.blocked_for(self._database, key_hash)
            if wait > 0:
                raise _refusal(by, wait)


def _refusal(by: str, wait: float) -> RateLimitedError:
    THROTTLED.labels(by).inc()
    return RateLimitedError("Too many attempts: wait as long as Retry-After says.", retry_after=wait)


def hash_key(purpose: Purpose, by: str, value: str) -> bytes:
    """What a counter is stored under; people type passwords into the wrong field, so never what they typed."""
    return sha256(f"slipway {purpose} {by}\0{value}".encode("utf-8", "surrogatepass")).digest()
