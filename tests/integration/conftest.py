"""The API in this process, on a real PostgreSQL, and people who are signed in to it."""

from __future__ import annotations

import io
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from servers.staging import staged
from slipway.app import open_app
from slipway.auth.models import User
from slipway.auth.permissions import ADMIN, defaults
from slipway.edge.drain import DrainState
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.telemetry.logs import configure_logging

PASSWORD = "a password for tests"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody signed in; `client` sends their access token."""

    id: str
    email: str
    client: httpx.AsyncClient


@pytest.fixture
def app_settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.with_changes(data_dir=tmp_path, rate_limit=100_000)


@pytest.fixture
async def resources(app_settings: Settings) -> AsyncIterator[Resources]:
    async with open_resources(app_settings) as opened:
        yield opened


@pytest.fixture
async def anonymous(resources: Resources) -> AsyncIterator[httpx.AsyncClient]:
    lines = configure_logging(resources.settings, io.StringIO())
    async with open_app(resources, lines, DrainState()) as app:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
            yield client


SignIn = Callable[..., Awaitable[Person]]


@pytest.fixture
async def sign_in(resources: Resources, anonymous: httpx.AsyncClient) -> SignIn:
    """Makes a user with permissions and signs them in."""
    password_hash = await resources.passwords.hash(PASSWORD)

    async def make(*permissions: str) -> Person:
        email = f"{secrets.token_hex(4)}@example.com"
        async with staged(resources.database) as session:
            user = User(email=email, password_hash=password_hash, permissions=list(permissions))
            session.add(user)
            await session.flush()
        return await enter(anonymous, str(user.id), email)

    return make


async def enter(anonymous: httpx.AsyncClient, user_id: str, email: str) -> Person:
    reply = await anonymous.post("/api/v1/auth/token", data={"username": email, "password": PASSWORD})
    assert reply.status_code == 200, reply.text
    headers = {"Authorization": f"Bearer {reply.json()['access_token']}"}
    client = httpx.AsyncClient(transport=anonymous._transport, base_url=anonymous.base_url, headers=headers)  # noqa: SLF001 - one app for all
    return Person(user_id, email, client)


@pytest.fixture
async def user(sign_in: SignIn) -> Person:
    return await sign_in(*defaults())


@pytest.fixture
async def admin(sign_in: SignIn) -> Person:
    return await sign_in(ADMIN, *defaults())
