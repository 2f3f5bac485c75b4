"""The form by which people sign in."""

from __future__ import annotations

import httpx

from integration.conftest import PASSWORD


async def enter(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/v1/auth/token", data={"username": email, "password": password})
