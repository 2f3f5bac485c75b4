"""`slipway serve --reload`, on a copy of the package that the test may edit."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import slipway
from servers.databases import TestDatabase
from servers.slipway import SlipwayProcess
from servers.waiting import until

PACKAGE = Path(slipway.__file__).parent


@pytest.fixture
def copied(database: TestDatabase, tmp_path: Path) -> Iterator[SlipwayProcess]:
    shutil.copytree(PACKAGE, tmp_path / "code/slipway", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "SLIPWAY_DATABASE_URL": database.url_app,
        "SLIPWAY_DRAIN": "0",
        "PYTHONPATH": str(tmp_path / "code"),
    }
    process = SlipwayProcess("serve --reload", tmp_path, settings)
    try:
        process.start()
        yield process
    finally:
        # Not killed at once: its server is a process of its own, and would live on.
        if process.process is not None and process.process.poll() is None:
            process.signal(signal.SIGTERM)
            process.wait()


def _says(process: SlipwayProcess, status: str) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return bool(httpx.get(f"{process.base}/health", timeout=1).json() == {"status": status})
        except httpx.TransportError:
            return False

    return look


async def test_changed_code_is_served_anew_also_after_a_change_that_broke_it(copied: SlipwayProcess) -> None:
    module = copied.folder / "code/slipway/app.py"
    code = module.read_text()
    assert _says(copied, "healthy")()
    module.write_text("this is no Python\n")
    await until(lambda: "SyntaxError" in copied.output, within=20)
    module.write_text(code.replace('"healthy"', '"changed"'))
    await until(_says(copied, "changed"), within=20)
    copied.signal(signal.SIGTERM)
    assert copied.wait() == 0


def test_reloading_is_refused_in_production(tmp_path: Path) -> None:
    settings = {
        "SLIPWAY_ENVIRONMENT": "production",
        "SLIPWAY_DATABASE_URL": "postgresql://api:kq93-long-and-random@127.0.0.1/slipway",
        "SLIPWAY_SIGNING_KEYS_DIR": str(tmp_path),
        "SLIPWAY_ISSUER": "https://api.example.com",
        "SLIPWAY_PASSWORD_RESET_URL": "https://www.example.com/reset?token={token}",
    }
    process = SlipwayProcess("serve --reload", tmp_path, settings)
    process.spawn()
    assert process.wait() == 1
    assert "`--reload` is for development" in process.output
