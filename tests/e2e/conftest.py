"""Slipway as separate processes on real servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from servers.databases import TestDatabase
from servers.slipway import SlipwayProcess

PASSWORD = "a password for tests"
Serve = Callable[..., SlipwayProcess]


@pytest.fixture
def serve(database: TestDatabase, tmp_path: Path) -> Iterator[Serve]:
    """Starts `slipway serve` with an administrator; settings by name without their prefix.

    What is in `python_path` goes before what is installed.
    """
    started: list[SlipwayProcess] = []

    def start(command: str = "serve", python_path: Path | None = None, **settings: object) -> SlipwayProcess:
        admin = tmp_path / "admin"
        if not admin.exists():
            admin.mkdir()
            (admin / "email").write_text("admin@example.com")
            (admin / "password").write_text(PASSWORD)
        environment = {
            "SLIPWAY_DATABASE_URL": database.url_app,
            "SLIPWAY_ADMIN_CREDENTIALS_DIR": str(admin),
            "SLIPWAY_PASSWORD_MEMORY": str(8 * 1024 * 1024),
            "SLIPWAY_PASSWORD_ITERATIONS": "1",
            "SLIPWAY_RATE_LIMIT": "1000000",
            "SLIPWAY_DRAIN": "0",
            **({} if python_path is None else {"PYTHONPATH": str(python_path)}),
            **{f"SLIPWAY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        process = SlipwayProcess(command, tmp_path, environment)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()


def sign_in(slipway: SlipwayProcess, email: str = "admin@example.com") -> dict[str, str]:
    """The header of a signed-in client."""
    reply = httpx.post(f"{slipway.base}/api/v1/auth/token", data={"username": email, "password": PASSWORD}, timeout=10)
    assert reply.status_code == 200, reply.text
    return {"Authorization": f"Bearer {reply.json()['access_token']}"}


def new_key() -> str:
    return secrets.token_hex(16)
