"""How many notes there are, and a health page."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from fastapi import FastAPI

app = FastAPI()
LOGIN = Path(os.environ.get("SLIPWAY_DATABASE_CREDENTIALS_DIR", "/login"))
NAMES = {"host": "host", "port": "port", "database": "dbname", "username": "user", "password": "password"}


@app.get("/-/healthy")
def healthy() -> str:
    return "fine"


@app.get("/")
def notes() -> int:
    login = {keyword: LOGIN.joinpath(file).read_text() for file, keyword in NAMES.items()}
    with psycopg.connect(**login, connect_timeout=5) as connection:
        row = connection.execute("SELECT count(title) FROM notes").fetchone()
    return row[0] if row else 0
