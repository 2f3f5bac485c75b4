"""`slipway run` in this process: a database of its own, from its making to its second start."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
import pytest
from click.testing import CliRunner, Result

from servers.slipway import wait_ready
from servers.waiting import free_port
from slipway.cli import root
from slipway.local.embedded import FolderInUseError, embedded_postgres
from slipway.local.standalone import ADMINISTRATOR

WORDS = re.compile(r"password  (\S+)")


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, into which only its own user may look: the server has another where this one is root."""
    made = Path(tempfile.mkdtemp(prefix="slipway-run-"))
    yield made
    shutil.rmtree(made)


class Run:
    """`slipway run` in a folder; `meanwhile` is called from another thread once it is ready, then it is interrupted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.ops_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.over = threading.Event()
        self.failures: list[BaseException] = []
        self.seen_files: dict[str, int] = {}

    def __call__(self, meanwhile: Callable[[], None] = lambda: None, **settings: str) -> Result:
        environment = {
            "SLIPWAY_PORT": str(self.port),
            "SLIPWAY_OPS_PORT": str(self.ops_port),
            "SLIPWAY_DATA_DIR": str(self.folder),
            "SLIPWAY_PASSWORD_MEMORY": str(8 * 1024 * 1024),
            "SLIPWAY_PASSWORD_ITERATIONS": "1",
            **settings,
        }
        thread = threading.Thread(target=self._meanwhile, args=(meanwhile,))
        self.over.clear()
        thread.start()
        result = CliRunner(env=environment).invoke(root, ["run"])
        self.over.set()
        thread.join(30)
        if self.failures:
            raise self.failures[0]
        return result

    def _meanwhile(self, act: Callable[[], None]) -> None:
        try:
            wait_ready(f"http://127.0.0.1:{self.ops_port}", lambda: "ended" if self.over.is_set() else "", 60)
            act()
        except BaseException as failure:  # noqa: BLE001 - told by the test's own thread
            self.failures.append(failure)
        finally:
            if not self.over.is_set():
                os.kill(os.getpid(), signal.SIGINT)

    def token(self, password: str) -> str:
        form = {"username": ADMINISTRATOR, "password": password}
        reply = httpx.post(f"{self.base}/api/v1/auth/token", data=form, timeout=10)
        return str(reply.json().get("access_token"))


def test_a_first_run_shows_a_login_that_works_and_a_second_one_keeps_it_and_shows_none(folder: Path) -> None:
    run = Run(folder / "data")
    documented: list[int] = []

    def look() -> None:
        documented.append(httpx.get(f"{run.base}/docs", timeout=10).status_code)
        with pytest.raises(FolderInUseError), embedded_postgres(run.folder):
            pass
        run.seen_files = {path.name: path.stat().st_mode & 0o777 for path in run.folder.glob("*.url")}
        owned = asyncio.run(_owner_of_tables((run.folder / "database.url").read_text().strip()))
        assert owned == {"slipway_owner"}
        httpx.post(f"{run.base}/api/v1/auth/password-reset", json={"email": ADMINISTRATOR}, timeout=10)
        asyncio.run(_no_mail_waits((run.folder / "database.url").read_text().strip()))

    first = run(look)
    assert not held()
    assert first.exit_code == 0, first.output
    (password,) = WORDS.findall(first.stdout)
    assert f"Slipway is ready:  {run.base}   documentation: {run.base}/docs   ops: " in first.stdout
    assert f'curl -s {run.base}/api/v1/users/me -H "Authorization: Bearer $TOKEN"' in first.stdout
    assert documented == [200]
    assert f"--- mail to {ADMINISTRATOR}: " in first.stderr, "its worker shows mails"
    assert f"{run.base}/docs?token=" in first.stderr
    assert run.seen_files == {"database-owner.url": 0o600, "database.url": 0o600}
    assert not list(run.folder.glob("*.url")), "who reads them finds a server"
    assert not (run.folder / "postgres" / "postmaster.pid").exists()

    tokens: list[str] = []
    again = run(lambda: tokens.append(run.token(password)), SLIPWAY_DEBUG="false")
    assert again.exit_code == 0, again.output
    assert tokens[0].count(".") == 2
    assert "password" not in again.stdout
    assert "/docs" not in again.stdout
    assert f"Slipway is ready:  {run.base}   ops: " in again.stdout


async def _no_mail_waits(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        statement = "SELECT count(*) FROM jobs WHERE name = 'send_mail'"
        end = monotonic() + 20
        while await connection.fetchval(statement):
            assert monotonic() < end, "nobody does jobs"
            await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def _owner_of_tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE items2 (id int)")
        rows = await connection.fetch("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
        return {row["tableowner"] for row in rows}
    finally:
        await connection.close()


def held() -> set[int]:
    """Signals that this thread doesn't take now."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_a_folder_in_use_is_refused_in_one_sentence(folder: Path) -> None:
    with (folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = CliRunner(env={"SLIPWAY_DATA_DIR": str(folder)}).invoke(root, ["run"])
    assert refused.exit_code == 1
    assert f"Another `slipway run` uses {folder}" in refused.output
    assert "SLIPWAY_DATA_DIR" in refused.output
    assert isinstance(refused.exception, SystemExit)


def test_a_start_that_fails_leaves_no_server_and_holds_no_signal(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("18")
    with pytest.raises(subprocess.SubprocessError), embedded_postgres(folder):
        pass
    assert not held()
    assert not (folder / "postgres" / "postmaster.pid").exists()
    assert not list(folder.glob("*.url"))
