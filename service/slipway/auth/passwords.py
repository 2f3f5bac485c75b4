"""Passwords: argon2id in a few threads of low priority, behind a queue with a limit.

Each hash takes `password_memory` bytes, so that the number of threads bounds memory, and the queue bounds the wait.
Failure policy: a full queue is an UnavailableError (503); nothing here touches the database.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Histogram

from slipway.http.problems import ProblemDetail, UnavailableError, ValidationError
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

T = TypeVar("T")

MAX_LENGTH = 128
"""Longest password, in characters. NIST SP 800-63B asks for at least 64; a bound keeps input small."""

NICENESS = 10
SALT_BYTES = 16
HASH_BYTES = 32

DURATION = Histogram(
    "slipway_password_hash_seconds",
    "Time to hash or verify a password, waiting for a thread included.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)


class Verdict(NamedTuple):
    """`needs_rehash`: right, but hashed with other parameters than today's."""

    ok: bool
    needs_rehash: bool


class PasswordHasher:
    """Hashes and verifies in `password_workers` threads; `close()` when done."""

    def __init__(self, settings: Settings) -> None:
        self._min_length = settings.password_min_length
        self._limit = settings.password_workers + settings.password_queue
        # One lane: the threads of the pool are the parallelism, and a pod seldom has cores to spare.
        self._argon2 = argon2.PasswordHasher(
            time_cost=settings.password_iterations,
            memory_cost=settings.password_memory // 1024,
            parallelism=1,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
        )
        self._unknown = self._hash_of_nothing()
        self._executor = ThreadPoolExecutor(settings.password_workers, "slipway-password", _lower_priority)
        self._jobs: set[Future[object]] = set()

    @property
    def waiting(self) -> int:
        """Hashes under way or queued."""
        return len(self._jobs)

    def check(self, password: str, *, location: str) -> None:
        """Raises ValidationError for a password that breaks the rules; costs nothing."""
        normal = unicodedata.normalize("NFC", password)
        if not self._min_length <= len(normal) <= MAX_LENGTH:
            message = f"Choose a password of {self._min_length} to {MAX_LENGTH} characters."
            raise ValidationError(details=[ProblemDetail(location=location, message=message)])

    async def hash(self, password: str, *, location: str = "body.password") -> str:
        """The hash to store. Raises ValidationError for a password that breaks the rules, UnavailableError when full.

        `location` is where the request carried it, for the error's details.
        """
        self.check(password, location=location)
        return await self.run(lambda: self._argon2.hash(_prepared(password)))

    async def rehash(self, password: str) -> str:
        """The hash of a password that was right just now, with today's parameters, whatever today's rules say of it."""
        return await self.run(lambda: self._argon2.hash(_prepared(password)))

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Compare with a stored hash; None (nobody has that name) costs as much. Raises UnavailableError when full.

        Cancelled, it still answers where a thread has begun: guesses are counted by the answer.
        """
        with DURATION.time():
            future = self._begin(lambda: self._verify(_prepared(password), stored))
            answer = asyncio.wrap_future(future)
            try:
                return await asyncio.shield(answer)
            except asyncio.CancelledError:
                if future.cancel():
                    raise
                return await answer

    def close(self) -> None:
        """Let running hashes end; queued ones are cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _verify(self, prepared: bytes, stored: str | None) -> Verdict:
        try:
            self._argon2.verify(self._unknown if stored is None else stored, prepared)
        except (VerificationError, InvalidHashError):
            return Verdict(ok=False, needs_rehash=False)
        # The hash of nothing matches nothing; should chance will it otherwise, nobody is signed in by it.
        return Verdict(stored is not None, stored is not None and self._argon2.check_needs_rehash(stored))

    def _hash_of_nothing(self) -> str:
        """A hash with today's parameters that no password is known for; made without computing one."""
        salt, result = (
            base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (SALT_BYTES, HASH_BYTES)
        )
        cost = f"m={self._argon2.memory_cost},t={self._argon2.time_cost},p={self._argon2.parallelism}"
        return f"$argon2id$v=19${cost}${salt}${result}"

    async def run(self, work: Callable[[], T]) -> T:
        """Work in one of the threads, in turn. Raises UnavailableError when the queue is full."""
        with DURATION.time():
            return await asyncio.wrap_future(self._begin(work))

    def _begin(self, work: Callable[[], T]) -> Future[T]:
        if len(self._jobs) >= self._limit:
            raise UnavailableError("Too many sign-ins at once; try again shortly.", retry_after=2)
        future = self._executor.submit(work)
        self._jobs.add(future)  # type: ignore[arg-type]
        future.add_done_callback(self._jobs.discard)
        return future


def _prepared(password: str) -> bytes:
    # The same characters typed on another system can come decomposed: RFC 8265 compares passwords in NFC.
    # A lone surrogate is no character; it is kept apart from "?" so that it matches nothing else.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _lower_priority() -> None:
    """Hashing yields to the event loop when cores are short; only Linux knows priorities of single threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
