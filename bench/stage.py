"""Everything a run needs: databases, a collector, what Slipway is compared with, and Slipway as in production."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from bench.processes import SLIPWAY, Server, python, run_once, split_cores

from servers.databases import APP, TestDatabase, create_database, create_roles
from servers.postgres import PostgresServer
from servers.redis import RedisServer
from servers.waiting import free_port
from slipway.audit.settings import AuditSettings
from slipway.auth.keys import generate_keys

EMAIL = "admin@bench.example"
PASSWORD = "the pass phrase of a benchmark"

EXPIRING = 300_000
"""Rows of the audit log from before the run, 250 of which expire in each second of it: as many as the purge deletes."""

_TELL_OF_OLD_WRITES = """
INSERT INTO audit (attempt, kind, action, resource, actor, session, address, request_id, at)
SELECT uuidv7(age), 'work', 'items.create', 'items/' || uuidv7(age), uuidv7(), uuidv7(), '127.0.0.1',
    replace(gen_random_uuid()::text, '-', ''), now() + age
FROM generate_series(1, $1::int) AS number,
    LATERAL (SELECT make_interval(secs => number * 0.004 - $2::int) AS age) AS written
"""


@dataclass(frozen=True, slots=True)
class Slipway:
    """A `slipway serve` that is set up, started or not."""

    server: Server
    port: int
    ops_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Stage:
    """The servers of a run; `slipway()` sets one more service up on the same databases."""

    def __init__(self, folder: Path, core: int, database: TestDatabase, redis: RedisServer, stack: ExitStack) -> None:
        self.core = core
        self.database = database
        self._folder = folder
        self._redis = redis
        self._stack = stack
        self._collector_port = free_port()
        port = free_port()
        self.bare = Server("bare", python("bare.py", port), folder, ready_port=port, ready_path="/", core=core)
        self.plain_secret = secrets.token_hex(32)
        port = free_port()
        self.plain = Server(
            "plain",
            python("plain.py", port),
            folder,
            ready_port=port,
            ready_path="/health",
            core=core,
            settings={
                "PLAIN_SECRET": self.plain_secret,
                "PLAIN_DATABASE_URL": database.url_app.replace("postgresql://", "postgresql+asyncpg://"),
                "PLAIN_REDIS_URL": redis.url,
                "PLAIN_OTLP_ENDPOINT": self._collector,
            },
        )

    @property
    def bare_url(self) -> str:
        return f"http://127.0.0.1:{self.bare.ready_port}/"

    @property
    def plain_url(self) -> str:
        return f"http://127.0.0.1:{self.plain.ready_port}"

    @property
    def _collector(self) -> str:
        return f"http://127.0.0.1:{self._collector_port}"

    def start(self) -> None:
        """Migrate, write the files that a pod finds mounted, start all but what is loaded."""
        migration = {"SLIPWAY_DATABASE_URL": self.database.url_owner, "SLIPWAY_DATABASE_GRANT_TO": APP}
        run_once([SLIPWAY, "db", "upgrade"], migration, self._folder)
        generate_keys(self._folder / "keys")
        login = self._folder / "admin"
        login.mkdir()
        (login / "email").write_text(EMAIL, encoding="utf-8")
        (login / "password").write_text(PASSWORD, encoding="utf-8")
        port = self._collector_port
        self.keep(Server("collector", python("collector.py", port), self._folder, ready_port=port, ready_path="/"))
        asyncio.run(self._tell_of_old_writes())
        # It purges all the time, on the cores of the databases.
        self.keep(self.slipway("worker", command="worker", purge_interval="1").server)
        self.keep(self.bare)
        self.keep(self.plain)

    async def _tell_of_old_writes(self) -> None:
        connection = await asyncpg.connect(self.database.url_superuser, timeout=10)
        try:
            retention = AuditSettings.model_fields["audit_retention"].default
            await connection.execute(_TELL_OF_OLD_WRITES, EXPIRING, retention, timeout=120)
            await connection.execute("VACUUM ANALYZE audit", timeout=120)
        finally:
            await connection.close()

    def keep(self, server: Server) -> float:
        """Start a server that runs to the end of the stage; the seconds until it was ready."""
        self._stack.callback(server.stop)
        return server.start()

    def slipway(self, name: str, *, command: str = "serve", **changes: str) -> Slipway:
        """`changes` are settings by their name without `SLIPWAY_`, in any case; "" is unset. A worker isn't loaded."""
        port, ops_port = free_port(), free_port()
        settings = {
            "ENVIRONMENT": "production",
            "PORT": str(port),
            "OPS_PORT": str(ops_port),
            "ISSUER": "https://bench.example",
            "PASSWORD_RESET_URL": "https://bench.example/reset?token={token}",
            "ACCESS_TOKEN_TTL": "1800",
            "SIGNING_KEYS_DIR": str(self._folder / "keys"),
            "ADMIN_CREDENTIALS_DIR": str(self._folder / "admin"),
            "DATABASE_URL": self.database.url_app,
            "REDIS_URL": self._redis.url,
            "OTLP_ENDPOINT": self._collector,
            # Counted for every request, never reached: one client sends what thousands of users would.
            "RATE_LIMIT": "100000000",
            "LOGIN_ADDRESS_ATTEMPTS": "1000000",
            "DRAIN": "0",
            **{setting.upper(): value for setting, value in changes.items()},
        }
        server = Server(
            name,
            [SLIPWAY, command],
            self._folder,
            ready_port=ops_port,
            ready_path="/readyz",
            core=self.core if command == "serve" else None,
            settings={f"SLIPWAY_{setting}": value for setting, value in settings.items() if value},
        )
        return Slipway(server, port, ops_port)


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Databases and collector run on other cores than the service; all of it ends with the block."""
    core, _ = split_cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-bench-")))
        # Commits reach the disk, as they would in production: the tests' server spares itself that.
        postgres = PostgresServer({"fsync": "on"})
        stack.callback(postgres.remove)
        postgres.start()
        redis = RedisServer()
        stack.callback(redis.stop)
        redis.start()
        database = asyncio.run(_database(postgres))
        stage = Stage(folder, core, database, redis, stack)
        stage.start()
        yield stage


async def _database(postgres: PostgresServer) -> TestDatabase:
    await create_roles(postgres)
    return await create_database(postgres)
