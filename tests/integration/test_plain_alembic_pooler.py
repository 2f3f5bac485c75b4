"""A connection pooler (a real pgbouncer) between the script for plain Alembic and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import table, tables_of
from servers.pgbouncer import pgbouncer
from servers.plain_alembic_images import binding, plain_image, script


@pytest.fixture
async def pooler(empty_database: TestDatabase) -> AsyncIterator[int]:
    """Port of one that lends sessions for a transaction."""
    async with pgbouncer(empty_database, "transaction") as port:
        yield port


async def test_a_pooler_is_refused_before_anything_is_changed(
    empty_database: TestDatabase, pooler: int, tmp_path: Path
) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    through = binding(tmp_path / "login", empty_database, port=str(pooler))
    for command in ("plan", "upgrade", "announce", "withdraw"):
        run = await script(config, empty_database, command, login=through)
        assert (run.code, run.last["reason"], run.last["lasting"]) == (1, "PoolerInBetween", True), run.output
    assert await tables_of(empty_database) == set()


async def test_the_gate_looks_through_a_pooler(empty_database: TestDatabase, pooler: int, tmp_path: Path) -> None:
    """It reads once and needs no lock; and the control: the same pooler serves otherwise."""
    config = plain_image(tmp_path / "image", table("a"))
    await script(config, empty_database, "upgrade")
    through = binding(tmp_path / "login", empty_database, port=str(pooler))
    assert (await script(config, empty_database, "wait", "--timeout=5", login=through)).code == 0
