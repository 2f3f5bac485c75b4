"""What a ping per checkout would cost a read, against what is done instead: a look at the socket, and one repeat.

Run: `python bench/checkout.py`. Prints the median of interleaved rounds; starts and removes its own PostgreSQL.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)
sys.path.insert(1, str(ROOT / "tests"))

from servers.databases import create_database, create_roles  # noqa: E402
from servers.postgres import PostgresServer  # noqa: E402
from slipway.settings import Settings  # noqa: E402
from slipway.storage.engine import Database  # noqa: E402

ROUNDS, READS = 7, 1000


async def read(database: Database, *, ping: bool) -> float:
    """Microseconds of one read, over READS of them."""
    began = perf_counter()
    for _ in range(READS):
        if ping:
            await database.fetch_row("SELECT 1")
        await database.fetch_row("SELECT $1::int", 1)
    return (perf_counter() - began) / READS * 1e6


async def main(server: PostgresServer) -> None:
    await create_roles(server)
    database = Database(Settings(), (await create_database(server)).owner)
    try:
        await read(database, ping=True)
        rounds = [(await read(database, ping=False), await read(database, ping=True)) for _ in range(ROUNDS)]
    finally:
        await database.close()
    without, with_ping = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"a read: {without:.0f} µs; with a ping before it: {with_ping:.0f} µs; {with_ping / without:.2f} times")


if __name__ == "__main__":
    postgres = PostgresServer()
    try:
        postgres.start()
        asyncio.run(main(postgres))
    finally:
        postgres.remove()
