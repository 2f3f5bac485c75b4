"""What a release permits, given to users who are there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import Step, image, owner_settings, session
from slipway.migrations.runner import upgrade

USERS = Step("users", [
    "CREATE TABLE users (id int PRIMARY KEY, permissions text[], version int DEFAULT 1, updated_at timestamptz)",
    "INSERT INTO users VALUES (1, '{items:read}'), (2, '{items:read,projects:read}'), (3, '{}')",
])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "given", "changed"), [("", {1, 2, 3}, {1, 3}), (", to_holders_of='items:read'", {1, 2}, {1})]
)
async def test_users_get_a_permission_once_in_batches_and_their_versions_tell(
    empty_database: TestDatabase, tmp_path: Path, options: str, given: set[int], changed: set[int]
) -> None:
    body = f"""
        from slipway.migrations.permissions import give_permission
        given = give_permission("projects:read", batch=1{options})
        assert given == {len(changed)}, given
    """
    await upgrade(owner_settings(empty_database), versions=image(tmp_path, USERS, Step("give", body=body)))
    async with session(empty_database.url_owner) as connection:
        rows = await connection.fetch("SELECT id, permissions, version, updated_at IS NOT NULL AS told FROM users")
    assert {row["id"] for row in rows if row["permissions"].count("projects:read") == 1} == given
    assert {row["id"] for row in rows if row["version"] == 2 and row["told"]} == changed
    assert all(row["version"] == 1 and not row["told"] for row in rows if row["id"] not in changed)
