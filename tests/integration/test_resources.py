"""The parts of a process: opened together, and nothing of them left when they are closed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from servers.jobs import enqueue
from servers.redis import RedisServer
from servers.waiting import until
from slipway.auth.keys import generate_keys
from slipway.redis.gateway import AWAY
from slipway.resources import open_resources
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY


async def test_what_was_opened_is_closed_with_its_threads_tasks_and_connections(
    app_settings: Settings, redis_server: RedisServer
) -> None:
    before = asyncio.all_tasks()
    async with open_resources(app_settings.with_changes(redis_url=redis_server.url)) as resources:
        await resources.database.fetch_row("SELECT 1")
        await enqueue(resources.database, "greet")
        assert resources.redis.available
        assert resources.database.connections.idle == 1
        assert REGISTRY.get_sample_value("slipway_pool_connections", {"state": "idle"}) == 1
        assert asyncio.all_tasks() - before, "files are watched"
        assert await resources.passwords.run(lambda: 1) == 1
    assert resources.database.connections.idle == 0
    assert await resources.redis.call(lambda redis: redis.ping(), "ping") is AWAY
    await until(lambda: not asyncio.all_tasks() - before)
    with pytest.raises(RuntimeError, match="after shutdown"):
        await resources.passwords.run(lambda: 1)


async def test_keys_follow_their_folder(app_settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    first = generate_keys(folder).signing.id
    async with open_resources(app_settings.with_changes(signing_keys_dir=folder)) as resources:
        assert resources.keys.report()["signing"] == first
        for file in folder.iterdir():
            file.unlink()
        second = generate_keys(folder).signing.id
        await until(lambda: resources.keys.report()["signing"] == second)
    assert first != second


async def test_in_development_keys_are_made_once(app_settings: Settings) -> None:
    signing = []
    for _ in range(2):
        async with open_resources(app_settings) as resources:
            signing.append(resources.keys.report()["signing"])
    assert signing[0] == signing[1]
    assert (app_settings.data_dir / "keys" / "jwks.json").exists()


@pytest.mark.parametrize("debug", [True, False])
async def test_statements_are_logged_in_debug_only(
    app_settings: Settings, caplog: pytest.LogCaptureFixture, *, debug: bool
) -> None:
    async with open_resources(app_settings.with_changes(debug=debug)) as resources:
        with caplog.at_level(logging.INFO, "slipway.sql"):
            await resources.database.fetch_row("SELECT 1")
            await asyncio.sleep(0)  # the driver tells of it in its next turn
    assert ("SELECT" in {record.message for record in caplog.records if record.name == "slipway.sql"}) is debug
