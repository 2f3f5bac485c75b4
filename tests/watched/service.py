"""API and worker on real servers, with everybody who calls them; a calm time, and a bad one."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep, time

import httpx

from servers.databases import TestDatabase, create_roles, superuser_sql
from servers.otlp import Collector
from servers.postgres import PostgresServer
from servers.prometheus import Target
from servers.redis import RedisServer
from servers.slipway import SlipwayProcess
from slipway.migrations.runner import upgrade
from slipway.settings import Settings
from watched.groups import MemoryGroup

EMAIL, PASSWORD = "admin@example.com", "a password for tests"
MEMORY_LIMIT = 256 * 2**20
SETTINGS = {
    "RATE_LIMIT": "4000",
    "DRAIN": "0",
    "TRACE_SAMPLE_RATIO": "1.0",
    "DATABASE_POOL_SIZE": "4",
    "DATABASE_MAX_OVERFLOW": "2",
    "FILES_POLL_INTERVAL": "1",
    "PURGE_INTERVAL": "20",
    "REQUEST_DEADLINE": "5",
}


@dataclass(frozen=True, slots=True)
class Service:
    postgres: PostgresServer
    redis: RedisServer
    collector: Collector
    apis: tuple[SlipwayProcess, ...]
    worker: SlipwayProcess

    def targets(self) -> list[Target]:
        pods = {f"slipway-{number}": api for number, api in enumerate(self.apis)}
        apis = [Target(f"127.0.0.1:{api.ops_port}", "slipway-metrics", pod) for pod, api in pods.items()]
        return [*apis, Target(f"127.0.0.1:{self.worker.ops_port}", "slipway-worker-metrics", "slipway-worker-0")]


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    with ExitStack() as stack:
        postgres = PostgresServer()
        stack.callback(postgres.remove)
        postgres.start()
        database = TestDatabase(postgres, "watched")
        asyncio.run(_prepare(database))
        redis, collector = RedisServer(), Collector()
        stack.callback(redis.stop)
        stack.callback(collector.close)
        redis.start()
        admin = folder / "admin"
        admin.mkdir(parents=True)
        (admin / "email").write_text(EMAIL)
        (admin / "password").write_text(PASSWORD)
        environment = {f"SLIPWAY_{name}": value for name, value in SETTINGS.items()} | {
            "SLIPWAY_DATABASE_URL": database.url_app,
            "SLIPWAY_REDIS_URL": redis.url,
            "SLIPWAY_OTLP_ENDPOINT": collector.url,
            "SLIPWAY_ADMIN_CREDENTIALS_DIR": str(admin),
        }
        processes: list[SlipwayProcess] = []
        for command in ("serve", "serve", "worker"):
            group = MemoryGroup(MEMORY_LIMIT)
            stack.callback(group.remove)
            issuer = {"SLIPWAY_ISSUER": processes[0].base} if processes else {}
            process = SlipwayProcess(command, folder, environment | issuer, group.command)
            stack.callback(process.kill)
            process.start()
            processes.append(process)
        first, second, worker = processes
        yield Service(postgres, redis, collector, (first, second), worker)


async def _prepare(database: TestDatabase) -> None:
    await create_roles(database.server)
    await superuser_sql(database.server, f"CREATE DATABASE {database.name} OWNER slipway_owner")
    await upgrade(Settings(database_url=database.url_owner, database_grant_to="slipway_app"))  # type: ignore[arg-type]


@dataclass
class Callers:
    """People and programs who use it all the time; each of them waits for its answer and then a little."""

    service: Service
    pause: float = 0.3
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, readers: int = 5) -> None:
        """Returns when all of them are there."""
        work: list[Callable[[httpx.Client, dict[str, str]], None]] = [self._read] * readers
        for number, one in enumerate([*work, self._write, self._export, self._err]):
            api = self.service.apis[number % len(self.service.apis)]
            thread = threading.Thread(target=self._go, args=(api.base, one), daemon=True)
            thread.start()
            self.threads.append(thread)
            sleep(0.5)  # people don't sign in all at once

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(20)

    def _go(self, base: str, work: Callable[[httpx.Client, dict[str, str]], None]) -> None:
        with httpx.Client(base_url=base, timeout=10) as http:
            while not self.stop.is_set():
                with suppress(httpx.HTTPError, KeyError):
                    grant = http.post("/api/v1/auth/token", data={"username": EMAIL, "password": PASSWORD}).json()
                    headers = {"Authorization": f"Bearer {grant['access_token']}"}
                    for _ in range(100):
                        work(http, headers)
                        if self.stop.wait(self.pause):
                            return
                    http.post("/api/v1/auth/refresh", json={"refresh_token": grant["refresh_token"]})
                    http.post("/api/v1/auth/logout", headers=headers)
                    http.get("/api/v1/users/me", headers=headers)  # its session is gone
                self.stop.wait(self.pause)

    def _read(self, http: httpx.Client, headers: dict[str, str]) -> None:
        http.get("/api/v1/items", headers=headers)
        http.get("/api/v1/users/me", headers=headers)

    def _write(self, http: httpx.Client, headers: dict[str, str]) -> None:
        http.post("/api/v1/items", json={"title": "a crate"}, headers=headers)

    def _export(self, http: httpx.Client, headers: dict[str, str]) -> None:
        http.post("/api/v1/exports", json={"format": "csv"}, headers=headers)
        http.get("/api/v1/users", headers=headers)
        self.stop.wait(2)

    def _err(self, http: httpx.Client, headers: dict[str, str]) -> None:
        """Mistypes: a password, a token, an address."""
        http.post("/api/v1/auth/token", data={"username": f"{time():.0f}@example.com", "password": "wrong"})
        http.get("/api/v1/users/me", headers={"Authorization": "Bearer of.bad.news"})
        http.get("/api/v1/nowhere", headers=headers)
        self.stop.wait(3)


def a_bad_time(watched: Service, seconds: float, keys: Path) -> None:
    """PostgreSQL stalls and is stopped, then Redis and the collector; somebody guesses, and floods; keys get broken.

    Each takes its part of `seconds`; all is well again at the end.
    """
    part = seconds / 10
    api = watched.apis[0].base
    watched.postgres.pause()
    sleep(part)
    watched.postgres.resume()
    sleep(part / 2)
    watched.postgres.stop("immediate")
    sleep(part * 4)
    watched.postgres.start()
    sleep(part)
    watched.collector.status = 503
    watched.redis.stop()
    good = keys.read_bytes()
    keys.write_bytes(b"not json")
    _guess(api)
    _flood(api, part)
    keys.write_bytes(good)
    sleep(part)
    watched.redis.start()
    watched.collector.status = 200
    sleep(part / 2)


def _guess(api: str) -> None:
    with httpx.Client(base_url=api, timeout=10) as http:
        for number in range(12):
            with suppress(httpx.HTTPError):
                http.post("/api/v1/auth/token", data={"username": EMAIL, "password": f"guess {number}"})


def _flood(api: str, seconds: float) -> None:
    end = time() + seconds
    with httpx.Client(base_url=api, timeout=10) as http:
        for _ in itertools.takewhile(lambda _: time() < end, itertools.count()):
            with suppress(httpx.HTTPError):
                http.get("/api/v1/nowhere")
