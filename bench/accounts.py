"""Users to sign in as, what they have, and their tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg
from bench.asking import UnexpectedStatusError, ask
from bench.stage import EMAIL, PASSWORD, Slipway

from servers.databases import TestDatabase
from slipway.sessions.secret_tokens import hash_token, new_token

TOKEN_PATH = "/api/v1/auth/token"

_CREATE_USERS = """
INSERT INTO users (id, email, password_hash, permissions)
SELECT gen_random_uuid(), format('user%s@bench.example', number), password_hash, ARRAY['items:read', 'items:write']
FROM users, generate_series(1, $1::int) AS number WHERE email = $2
"""

_CREATE_ITEMS = """
INSERT INTO items (id, owner_id, title, body)
SELECT uuidv7(), users.id, format('Plank %s', number), repeat('Oak, steamed. ', 5)
FROM users, generate_series(1, $1::int) AS number WHERE email = $2 RETURNING id
"""

_CREATE_SESSIONS = """
WITH made AS (
    INSERT INTO sessions (id, user_id, expires_at)
    SELECT uuidv7(), id, now() + interval '1 hour' FROM users JOIN unnest($1::text[]) AS given (email) USING (email)
    RETURNING id
)
INSERT INTO refresh_tokens (token_hash, session_id)
SELECT hash, id FROM (SELECT id, row_number() OVER () FROM made) AS session
JOIN unnest($2::bytea[]) WITH ORDINALITY AS token (hash, row_number) USING (row_number)
"""


def email_of(number: int) -> str:
    return f"user{number}@bench.example"


async def create_users(database: TestDatabase, count: int) -> None:
    """Users `email_of(1)` to `email_of(count)`, all with the administrator's password and the rights on items."""
    await _run(database, _CREATE_USERS, count, EMAIL)


async def create_items(database: TestDatabase, email: str, count: int) -> list[UUID]:
    """Their ids."""
    return [row["id"] for row in await _run(database, _CREATE_ITEMS, count, email)]


async def create_sessions(database: TestDatabase, emails: Sequence[str]) -> list[str]:
    """One session of each, begun without a password: their refresh tokens."""
    tokens = [new_token() for _ in emails]
    await _run(database, _CREATE_SESSIONS, emails, [hash_token(token) for token in tokens])
    return tokens


async def id_of(database: TestDatabase, email: str) -> UUID:
    user_id: UUID = (await _run(database, "SELECT id FROM users WHERE email = $1", email))[0]["id"]
    return user_id


async def _run(database: TestDatabase, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run as nobody but the superuser may: what it makes was never asked of Slipway."""
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        found: list[asyncpg.Record] = await connection.fetch(statement, *arguments, timeout=60)
        return found
    finally:
        await connection.close()


def sign_in(slipway: Slipway, email: str) -> str:
    """An access token. Raises UnexpectedStatusError."""
    status, body = ask(slipway.port, TOKEN_PATH, form={"username": email, "password": PASSWORD})
    if status != 200:
        raise UnexpectedStatusError(f"Signing in as {email} gave {status}: {body.decode(errors='replace')}")
    token: str = json.loads(body)["access_token"]
    return token
