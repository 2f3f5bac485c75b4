"""An absent PostgreSQL shows as a gauge: at once when somebody needs it, and until it is back, though nobody asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servers.databases import TestDatabase
from servers.silence import SilentProxy
from servers.waiting import until
from slipway.settings import Settings
from slipway.storage import presence
from slipway.storage.engine import LOST, Database
from slipway.telemetry.registry import REGISTRY


def away() -> float | None:
    return REGISTRY.get_sample_value("slipway_degraded", {"dependency": "postgresql"})


async def test_an_absent_database_shows_until_it_is_back_though_nobody_asks_for_it(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PAUSE", 0.02)
    login = empty_database.owner
    door = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = door.sockets[0].getsockname()[1]
    door.close()
    await door.wait_closed()
    database = Database(Settings(), replace(login, host="127.0.0.1", port=port))
    proxy = SilentProxy(login.port)
    assert away() == 0
    with pytest.raises((*LOST, OSError)):
        await database.fetch_row("SELECT 1")
    assert away() == 1
    back = await asyncio.start_server(proxy.accept, "127.0.0.1", port)
    await until(lambda: away() == 0)
    await database.close()
    back.close()
    await proxy.close()


async def test_a_database_that_is_closed_while_it_is_away_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PAUSE", 0.0)
    asked = asyncio.Event()

    async def ask() -> None:
        asked.set()
        raise ConnectionRefusedError

    there = presence.Presence(ask)
    there.away()
    there.away()
    await asked.wait()
    await there.close()
    assert away() == 0
    asked.clear()
    await asyncio.sleep(0)
    assert not asked.is_set()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
