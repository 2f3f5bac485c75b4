"""Users to sign in as, and their access tokens."""

from __future__ import annotations

import json

import asyncpg
from bench.asking import UnexpectedStatusError, ask
from bench.stage import EMAIL, PASSWORD, Slipway

from servers.databases import TestDatabase

TOKEN_PATH = "/api/v1/auth/token"

_CREATE_USERS = """
INSERT INTO users (id, email, password_hash, permissions)
SELECT gen_random_uuid(), format('user%s@bench.example', number), password_hash, ARRAY['items:read', 'items:write']
FROM users, generate_series(1, $1::int) AS number WHERE email = $2
"""


def email_of(number: int) -> str:
    return f"user{number}@bench.example"


async def create_users(database: TestDatabase, count: int) -> None:
    """Users `email_of(1)` to `email_of(count)`, all with the administrator's password and the rights on items."""
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        await connection.execute(_CREATE_USERS, count, EMAIL)
    finally:
        await connection.close()


def sign_in(slipway: Slipway, email: str) -> str:
    """An access token. Raises UnexpectedStatusError."""
    status, body = ask(slipway.port, TOKEN_PATH, form={"username": email, "password": PASSWORD})
    if status != 200:
        raise UnexpectedStatusError(f"Signing in as {email} gave {status}: {body.decode(errors='replace')}")
    token: str = json.loads(body)["access_token"]
    return token
