"""Images with plain Alembic reach the database as the owner's Secret asks, and no weaker."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import table
from servers.plain_alembic_images import binding, plain_image, script


@pytest.mark.parametrize(("mode", "code"), [("prefer", 0), ("require", 1)])
async def test_a_server_without_tls_is_reached_only_where_the_secret_allows_it(
    empty_database: TestDatabase, tmp_path: Path, mode: str, code: int
) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    run = await script(config, empty_database, "plan", login=binding(tmp_path / "login", empty_database, sslmode=mode))
    assert run.code == code
    assert code == 0 or run.last["reason"] == "DatabaseUnreachable"


async def test_a_secret_with_only_a_uri_is_enough(empty_database: TestDatabase, tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    folder = tmp_path / "login"
    folder.mkdir()
    (folder / "uri").write_text(f"{empty_database.url_owner}?sslmode=prefer")
    assert (await script(config, empty_database, "upgrade", login=folder)).code == 0
