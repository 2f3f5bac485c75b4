"""How many notes there are, and a health page."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
from fastapi import FastAPI

app = FastAPI()
LOGIN = Path(os.environ.get("SLIPWAY_DATABASE_CREDENTIALS_DIR", "/login"))


@app.get("/-/healthy")
async def healthy() -> str:
    return "fine"


@app.get("/")
async def notes() -> int:
    login = {file: LOGIN.joinpath(file).read_text() for file in ("host", "port", "database", "password")}
    connection = await asyncpg.connect(user=LOGIN.joinpath("username").read_text(), timeout=5, **login)
    try:
        count: int = await connection.fetchval("SELECT count(title) FROM notes")
        return count
    finally:
        connection.terminate()
