"""What the cache of totals is worth to somebody who pages through a list: with Redis, in the process alone, without.

Run: `python bench/totals.py`. Prints the median time of a page of 20, asked for every 1.1 s, when a process's own copy
of the total is over; and of one asked for again at once.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path
from time import perf_counter, sleep

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)
sys.path.insert(1, str(ROOT / "tests"))

from http.client import HTTPConnection  # noqa: E402 - before the path is mended it would be http.py

from bench.accounts import create_items, create_users, email_of, sign_in  # noqa: E402
from bench.stage import Slipway, open_stage  # noqa: E402

PAGES = 12
EVERY = 1.1
SIZES = (1_000, 100_000)
KINDS = {"both levels": {}, "in the process alone": {"redis_url": ""}, "counted each time": {"cache_ttl": "0"}}


def page(connection: HTTPConnection, token: str) -> float:
    """Milliseconds."""
    began = perf_counter()
    connection.request("GET", "/api/v1/items", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    reply.read()
    if reply.status != 200:
        raise RuntimeError(f"A page gave {reply.status}.")
    return (perf_counter() - began) * 1000


def pages(slipway: Slipway, token: str) -> tuple[float, float]:
    """Medians of those asked for after a while, and of those at once after them."""
    connection = HTTPConnection("127.0.0.1", slipway.port, timeout=30)
    try:
        page(connection, token)
        seldom, often = [], []
        for _ in range(PAGES):
            sleep(EVERY)
            seldom.append(page(connection, token))
            often.append(page(connection, token))
    finally:
        connection.close()
    return statistics.median(seldom), statistics.median(often)


def main() -> None:
    with open_stage() as stage:
        asyncio.run(create_users(stage.database, len(SIZES)))
        for number, size in enumerate(SIZES, 1):
            asyncio.run(create_items(stage.database, email_of(number), size))
        for kind, changes in KINDS.items():
            slipway = stage.slipway(kind.replace(" ", "-"), **changes)
            stage.keep(slipway.server)
            for number, size in enumerate(SIZES, 1):
                seldom, often = pages(slipway, sign_in(slipway, email_of(number)))
                print(f"20 of {size:>7,}, {kind:20}  every {EVERY} s: {seldom:5.1f} ms   at once: {often:5.1f} ms")
            slipway.server.stop()


if __name__ == "__main__":
    main()
