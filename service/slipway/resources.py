"""The parts that one process is made of, opened in order and closed in the opposite one; pools close last."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from slipway.auth.keys import KeySet, KeyStore, generate_keys, keys_from_files
from slipway.auth.passwords import PasswordHasher
from slipway.auth.principals import Principals
from slipway.auth.tokens import Tokens
from slipway.edge.limiter import RateLimiter
from slipway.jobs.queue import JobQueue
from slipway.redis.cache import Cache
from slipway.redis.gateway import RedisGateway
from slipway.sessions.throttle import LoginThrottle
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.files import WatchedFolder, Watcher
from slipway.storage.login import Login, login_from_contents, login_from_settings
from slipway.telemetry.collectors import POOL
from slipway.telemetry.sql import instrument_engine, log_engine
from slipway.telemetry.tracing import Tracing

logger = logging.getLogger("slipway.resources")


@dataclass(frozen=True, slots=True)
class Resources:
    """One process's parts. Each domain names those that it uses by a protocol of its own (`parts.py`)."""

    settings: Settings
    tracing: Tracing
    database: Database
    redis: RedisGateway
    cache: Cache
    limiter: RateLimiter
    keys: KeyStore
    tokens: Tokens
    passwords: PasswordHasher
    throttle: LoginThrottle
    principals: Principals
    queue: JobQueue


def open_database(settings: Settings) -> tuple[Database, WatchedFolder[Login] | None]:
    """The pool, and the mounted login it follows when there is one. Raises LoginError or FilesError."""
    if settings.database_credentials_dir is None:
        return Database(settings, login_from_settings(settings)), None

    async def change(login: Login) -> None:
        await database.change_login(login)

    folder = WatchedFolder(
        "database", settings.database_credentials_dir, partial(login_from_contents, settings), change
    )
    database = Database(settings, folder.accepted)
    return database, folder


def open_keys(settings: Settings) -> tuple[KeyStore, WatchedFolder[KeySet]]:
    """The signing keys and the folder they follow; in development made on first use. Raises KeysError or FilesError."""
    folder = settings.signing_keys_dir
    if folder is None:
        folder = settings.data_dir / "keys"
        generate_keys(folder)

    async def replace(keys: KeySet) -> None:
        store.replace(keys)

    watched = WatchedFolder("keys", folder, partial(keys_from_files, settings), replace)
    store = KeyStore(watched.accepted)
    return store, watched


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything a process needs; no server has to be up. Raises LoginError, KeysError and FilesError."""
    async with AsyncExitStack() as stack:
        tracing = Tracing(settings)
        stack.callback(tracing.shutdown)
        database, login_folder = open_database(settings)
        stack.push_async_callback(database.close)
        instrument_engine(database.connections.engine.sync_engine)
        if settings.debug:
            log_engine(database.connections.engine.sync_engine)
        POOL.watch(database.connections)
        keys, keys_folder = open_keys(settings)
        redis = RedisGateway(settings)
        await redis.start()
        stack.push_async_callback(redis.close)
        passwords = PasswordHasher(settings)
        stack.callback(passwords.close)
        watcher = Watcher(settings.files_poll_interval, [folder for folder in (login_folder, keys_folder) if folder])
        watcher.start()
        stack.push_async_callback(watcher.stop)
        yield Resources(
            settings=settings,
            tracing=tracing,
            database=database,
            redis=redis,
            cache=Cache(redis, settings.cache_ttl),
            limiter=RateLimiter(settings, redis),
            keys=keys,
            tokens=Tokens(settings, keys),
            passwords=passwords,
            throttle=LoginThrottle(settings, database),
            principals=Principals(settings, database),
            queue=JobQueue(),
        )
